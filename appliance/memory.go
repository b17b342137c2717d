package appliance

import (
	"errors"
	"fmt"
)

// memoryCheck says how much of the memory that the box may take is in use. Short of it
// the web door turns newcomers away, which looks like a bad line to who stands there (F15).
func (a *Appliance) memoryCheck() []Check {
	share, scarce, exhausted := a.proxy.MemoryInUse()
	if share == 0 {
		return nil // there is no bound, or next to nothing of it is in use
	}
	return []Check{memoryCheckOf(share, scarce, exhausted)}
}

func memoryCheckOf(share, scarce, exhausted int) Check {
	c := Check{Name: "memory", Say: fmt.Sprintf("%d%% of its bound in use", share)}
	switch {
	case share >= exhausted:
		c.Err = errors.New("no new web connections are let in: give the box more memory, or the service (MemoryMax)")
	case share >= scarce:
		c.Say += ": devices with many web connections get no more"
	}
	return c
}
