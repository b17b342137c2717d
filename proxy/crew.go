package proxy

import "sync"

// crew runs what connections need on goroutines that it keeps for a while: their stacks
// have grown already, which for a new connection is a twentieth of what it costs.
type crew struct {
	jobs chan func()

	mu      sync.Mutex
	free    int
	closed  bool
	quit    chan struct{}
	running sync.WaitGroup
}

// maxFree is how many wait for work: 16 KiB each, at most.
const maxFree = 64

func newCrew() *crew { return &crew{jobs: make(chan func()), quit: make(chan struct{})} }

// run has f done, at once.
func (c *crew) run(f func()) {
	select {
	case c.jobs <- f:
	default:
		c.running.Add(1)
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	defer c.running.Done()
	for {
		f()
		f = nil
		if !c.rest() {
			return
		}
		select {
		case f = <-c.jobs:
		case <-c.quit:
		}
		c.mu.Lock()
		c.free--
		c.mu.Unlock()
		if f == nil {
			return
		}
	}
}

func (c *crew) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.free == maxFree {
		return false
	}
	c.free++
	return true
}

// close ends those that wait, and waits for those at work.
func (c *crew) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.quit)
	}
	c.mu.Unlock()
	c.running.Wait()
}
