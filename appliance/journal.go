package appliance

import (
	"schoolgate/audit"
	"schoolgate/configs"
)

// Journal is the audit journal of a box, for reading; a running appliance may go
// on writing it.
func Journal(cfg *configs.Config) audit.Dir {
	return audit.In(cfg.Box.Data)
}
