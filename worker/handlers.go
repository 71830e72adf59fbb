package worker

import "iter"

// Handlers yields the registered handlers in the order of registration, for programs that serve them in their own process. The error tells a
// mistake that was made in registering.
func (w *Worker) Handlers() (iter.Seq2[Handler, Func], error) {
	if w.err != nil {
		return nil, w.err
	}
	return func(yield func(Handler, Func) bool) {
		for _, h := range w.order {
			if !yield(h, w.handlers[handlerKey{h.Kind, h.Name}]) {
				return
			}
		}
	}, nil
}
