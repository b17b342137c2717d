package appliance

import (
	"context"
	"sync"
)

// restartable is a background part of which one instance runs at a time, and
// which a reload replaces. The zero value runs nothing.
type restartable struct {
	mu     sync.Mutex
	parent context.Context // set by start
	run    func(context.Context) error
	cancel context.CancelFunc
	done   chan error
}

// replace stops the instance that runs, if one does, has build make the next
// one and starts that. The two never run at once, so they may hold the same
// files. The error of the old instance's end is given if build has none.
func (r *restartable) replace(build func() (func(context.Context) error, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := r.stop()
	run, err := build()
	if err != nil {
		return err
	}
	r.run = run
	r.launch()
	return ended
}

// start lets the instance run until parent is done.
func (r *restartable) start(parent context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parent = parent
	r.launch()
}

// wait stops the instance and gives the error it ended with.
func (r *restartable) wait() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop()
}

func (r *restartable) launch() {
	if r.run == nil || r.parent == nil || r.parent.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.parent)
	r.cancel, r.done = cancel, make(chan error, 1)
	go func(run func(context.Context) error, done chan<- error) { done <- run(ctx) }(r.run, r.done)
}

func (r *restartable) stop() error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.cancel = nil
	return <-r.done
}
