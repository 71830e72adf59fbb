package runner

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/kneo-go/kneo/internal/engine"
)

// deltaPause is how long pieces of text are gathered before they are stored as one live event.
const deltaPause = 100 * time.Millisecond

// deltaStream turns pieces of a model's text into live events. What is told is a prefix of the masked text: it ends at a blank, so that no
// secret is told in two halves, and it stops for good when masking changes what was told already.
type deltaStream struct {
	l    *leg
	ctx  context.Context
	step string
	key  string

	mu      sync.Mutex
	text    strings.Builder
	told    string
	spoiled bool
	waiting bool
	stop    func()
}

// deltas returns the receiver of an agent's text, nil when nobody follows the run, and the function that ends it.
func (l *leg) deltas(ctx context.Context, a engine.Action) (func(string), func()) {
	if l.Watched == nil || !l.Watched(l.row.ID) {
		return nil, func() {}
	}
	d := &deltaStream{l: l, ctx: context.WithoutCancel(ctx), step: a.Step, key: a.Key, stop: func() {}}
	return d.add, d.end
}

func (d *deltaStream) add(piece string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.WriteString(piece)
	if d.waiting {
		return
	}
	d.waiting = true
	d.stop = d.l.Clock.AfterFunc(deltaPause, func() {
		d.mu.Lock()
		d.waiting = false
		fresh := d.tell(false)
		d.mu.Unlock()
		if fresh {
			_ = d.l.journal.flush(d.ctx) //nolint:errcheck // a lost lease stops the leg by itself; live text is no record
		}
	})
}

// end tells the rest; the next write of the leg carries it.
func (d *deltaStream) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop()
	d.tell(true)
}

// tell adds an event with the masked text that was not told yet.
func (d *deltaStream) tell(whole bool) bool {
	text := d.text.String()
	if !whole {
		text = text[:strings.LastIndexAny(text, " \n\t")+1]
	}
	masked := redacted(text)
	if d.spoiled || !strings.HasPrefix(masked, d.told) {
		d.spoiled = true
		return false
	}
	fresh := masked[len(d.told):]
	if fresh == "" {
		return false
	}
	d.told = masked
	d.l.journal.tell("delta", object("step_id", d.step, "key", d.key, "text", fresh), d.l.Clock.Now())
	return true
}
