package term

import (
	"fmt"
	"sync"
	"time"
)

const (
	progressDelay = time.Second
	progressTick  = 200 * time.Millisecond
)

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// Progress shows a moving line once something takes longer than a second. Stop it before anything else is written. On what is no terminal it
// writes nothing.
func (s *Screen) Progress(text string) (stop func()) {
	if !s.terminal {
		return func() {}
	}
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() { s.animate(text, done) })
	var once sync.Once
	return func() {
		once.Do(func() {
			close(done)
			ended.Wait()
		})
	}
}

func (s *Screen) animate(text string, done <-chan struct{}) {
	start := time.Now()
	select {
	case <-done:
		return
	case <-time.After(progressDelay):
	}
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	for i := 0; ; i++ {
		s.Printf("\r%s %s %s\x1b[K", s.Paint(Cyan, frames[i%len(frames)]), text, s.Paint(Dim, fmt.Sprintf("%.0fs", time.Since(start).Seconds())))
		select {
		case <-done:
			s.Printf("\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}
