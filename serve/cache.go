package serve

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"syncsam-convert/segment"
)

// A key says which picture an embedding is of: a hash of its file and of the part that is meant.
type key [sha256.Size]byte

// cache keeps images' embeddings, those last used, within a bound in bytes. What several want at a time is made once.
type cache struct {
	most         int64
	hits, misses atomic.Uint64

	mutex  sync.Mutex
	bytes  int64
	recent *list.List // of *kept, the last used first
	by     map[key]*list.Element
	making singleflight.Group
}

type kept struct {
	key   key
	value *segment.Embedded
	bytes int64
}

func newCache(most int64) *cache {
	return &cache{most: most, recent: list.New(), by: map[key]*list.Element{}}
}

// get gives what is kept, or makes it; had says which.
func (c *cache) get(k key, make func() (*segment.Embedded, error)) (e *segment.Embedded, had bool, err error) {
	if e := c.find(k); e != nil {
		c.hits.Add(1)
		return e, true, nil
	}
	made, err, _ := c.making.Do(string(k[:]), func() (any, error) {
		if e := c.find(k); e != nil { // made since
			return e, nil
		}
		c.misses.Add(1)
		e, err := make()
		if err == nil {
			c.put(k, e)
		}
		return e, err
	})
	if err != nil {
		return nil, false, err
	}
	return made.(*segment.Embedded), false, nil
}

func (c *cache) find(k key) *segment.Embedded {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	at := c.by[k]
	if at == nil {
		return nil
	}
	c.recent.MoveToFront(at)
	return at.Value.(*kept).value
}

func (c *cache) put(k key, e *segment.Embedded) {
	n := int64(0)
	for _, t := range e.Features {
		n += t.NumBytes()
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if n > c.most || c.by[k] != nil {
		return
	}
	c.by[k] = c.recent.PushFront(&kept{k, e, n})
	for c.bytes += n; c.bytes > c.most; {
		last := c.recent.Remove(c.recent.Back()).(*kept)
		c.bytes -= last.bytes
		delete(c.by, last.key)
	}
}

// size is the number of embeddings that are kept, and their bytes.
func (c *cache) size() (n int, bytes int64) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.recent.Len(), c.bytes
}
