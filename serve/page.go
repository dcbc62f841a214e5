package serve

import "net/http"

func (s *Server) pageHandlers(mux *http.ServeMux) {}
