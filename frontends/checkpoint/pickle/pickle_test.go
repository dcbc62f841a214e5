package pickle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pythons are one object as Python's pickle writes it in protocols 0, 1, 2 and 4 (3 and 5 differ from their neighbours in bytes alone).
var pythons = []string{
	"286470300a56610a70310a286c70320a49310a61492d310a61493235350a614936353533360a61492d323134373438333634380a614c323134373438333634384c0a614c313138303539313632303731373431313330333432344c0a614c2d313138303539313632303731373431313330333432344c0a6149300a617356740a70330a2874735674310a70340a2849310a7470350a735674330a70360a2849310a49320a49330a7470370a735674350a70380a2849310a49320a49330a49340a49350a7470390a7356660a7031300a286c7031310a46312e350a61462d302e300a614631652b3330300a6173566e0a7031320a4e7356620a7031330a286c7031340a4930310a614930300a617356750a7031350a56e95c75323061635c5530303031663630305c753030356320780a7031360a7349370a56736576656e0a7031370a73567368617265640a7031380a286c7031390a286c7032300a49310a61616732300a61732e",
	"7d71002858010000006171015d7102284b014affffffff4bff4a000001004a000000804c323134373438333634384c0a4c313138303539313632303731373431313330333432344c0a4c2d313138303539313632303731373431313330333432344c0a4b0065580100000074710329580200000074317104284b01747105580200000074337106284b014b024b03747107580200000074357108284b014b024b034b044b05747109580100000066710a5d710b28473ff8000000000000478000000000000000477e37e43c8800759c6558010000006e710c4e580100000062710d5d710e284930310a4930300a65580100000075710f580c000000c3a9e282acf09f98805c207871104b075805000000736576656e7111580600000073686172656471125d7113285d71144b0161681465752e",
	"80027d71002858010000006171015d7102284b014affffffff4bff4a000001004a000000808a0500000080008a090000000000000000408a090000000000000000c04b00655801000000747103295802000000743171044b018571055802000000743371064b014b024b03877107580200000074357108284b014b024b034b044b05747109580100000066710a5d710b28473ff8000000000000478000000000000000477e37e43c8800759c6558010000006e710c4e580100000062710d5d710e28888965580100000075710f580c000000c3a9e282acf09f98805c207871104b075805000000736576656e7111580600000073686172656471125d7113285d71144b0161681465752e",
	"800495cf000000000000007d94288c0161945d94284b014affffffff4bff4a000001004a000000808a0500000080008a090000000000000000408a090000000000000000c04b00658c017494298c027431944b0185948c027433944b014b024b0387948c02743594284b014b024b034b044b0574948c0166945d9428473ff8000000000000478000000000000000477e37e43c8800759c658c016e944e8c0162945d94288889658c0175948c0cc3a9e282acf09f98805c2078944b078c05736576656e948c06736861726564945d94285d944b0161681465752e",
}

// text writes a value as Python does, nearly.
func text(v any) string {
	list := func(values []any) string {
		var parts []string
		for _, v := range values {
			parts = append(parts, text(v))
		}
		return strings.Join(parts, ", ")
	}
	switch x := v.(type) {
	case *Dict:
		var parts []string
		for _, e := range x.Items {
			parts = append(parts, text(e.Key)+": "+text(e.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case *List:
		return "[" + list(x.Items) + "]"
	case *Tuple:
		return "(" + list(x.Items) + ")"
	case string:
		return fmt.Sprintf("%+q", x)
	}
	return fmt.Sprint(v)
}

func machine(length int) *Machine {
	return &Machine{Find: func(module, name string) any { return module + "." + name }, Budget: NewBudget(length),
		Persistent: func(any) (any, error) { return nil, errors.New("no persistent ids") }}
}

func TestPython(t *testing.T) {
	const want = `{"a": [1, -1, 255, 65536, -2147483648, 2147483648, 1180591620717411303424, -1180591620717411303424, 0], "t": (), "t1": (1), "t3": (1, 2, 3), "t5": (1, 2, 3, 4, 5), ` +
		`"f": [1.5, -0, 1e+300], "n": <nil>, "b": [true, false], "u": "\u00e9\u20ac\U0001f600\\ x", 7: "seven", "shared": [[1], [1]]}`
	for i, h := range pythons {
		data, err := hex.DecodeString(h)
		require.NoError(t, err)
		v, n, err := machine(len(data)).Load(append(data, "behind"...))
		require.NoError(t, err, i)
		require.Equal(t, len(data), n)
		require.Equal(t, want, text(v), i)
	}
}

// Whatever the bytes: a value or an error in plain words, and no more memory than the budget of its length.
func FuzzLoad(f *testing.F) {
	for _, h := range pythons {
		data, err := hex.DecodeString(h)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, s := range []string{"\x80\x02}}.", "(((1.", "]2e.", "\x8f(K\x01\x90.", "(K\x01\x91.", "cos\nsystem\n(S'id'\ntR.", "(ios\nsystem\n.", "\x8c\x02os\x8c\x06system\x93\x85R.", "\x8b\x00\x00\x00\x00.",
		"\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "Vabc\\u00\n.", "Pid\n.", "I01\n.", "L-12L\n.", "F1e999\n.", "S'\n."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := machine(len(data))
		_, n, err := m.Load(data)
		require.LessOrEqual(t, n, len(data))
		require.GreaterOrEqual(t, m.Budget.left, 0)
		if err != nil {
			require.Less(t, len(err.Error()), 500)
		}
	})
}
