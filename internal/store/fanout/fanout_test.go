package fanout_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/kneo-go/kneo/internal/store/fanout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryIDArrives(t *testing.T) {
	var hub fanout.Hub
	defer hub.Close()
	fast, slow := hub.Subscribe(t.Context()), hub.Subscribe(t.Context())
	const n = 200
	for i := range n {
		hub.Publish(fmt.Sprint(i), "same")
	}
	for _, c := range []<-chan string{fast, slow} {
		seen := map[string]int{}
		for len(seen) < n+1 {
			seen[<-c]++
		}
		if seen["same"] == n {
			t.Error("changes of one run are not put together")
		}
	}
}

func TestSubscriptionsEnd(t *testing.T) {
	var hub fanout.Hub
	ctx, cancel := context.WithCancel(t.Context())
	ended, closed := hub.Subscribe(ctx), hub.Subscribe(t.Context())
	hub.Publish("a")
	cancel()
	for range ended {
		continue
	}
	hub.Publish("b")
	hub.Close()
	for range closed {
		continue
	}
	for range hub.Subscribe(t.Context()) {
		t.Error("a closed hub delivers")
	}
	hub.Publish("c")
	hub.Close()
}
