package desk

import (
	"errors"
	"io/fs"
	"os"

	"schoolgate/alerts"
	"schoolgate/configs"
)

// AlertsOf is the closed alerts of what a person did, or of a device where nobody else
// had signed in, and the number of those that are still being dealt with: what is found
// out of them is not for their subject yet. Those on staff are not among them: who asks
// may not be one who may see them (R36).
func AlertsOf(cfg *configs.Config, person, device string) (closed []alerts.Alert, open int, err error) {
	dir := alerts.In(cfg.Box.Data)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil // the box has not run yet, so nothing was raised
	}
	listing, err := alerts.List(dir)
	if err != nil {
		return nil, 0, err
	}
	for i := range listing.Alerts {
		switch a := &listing.Alerts[i]; {
		case a.Adult || len(a.About) > 0 || a.Shared:
		case !(person != "" && a.Person == person || device != "" && a.Device == device && (a.Person == "" || a.Person == person)):
		case a.State == alerts.StateClosed:
			closed = append(closed, *a)
		default:
			open++
		}
	}
	return closed, open, nil
}
