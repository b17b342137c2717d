package appliance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"schoolgate/alerts"
	"schoolgate/configs"
)

// AlertsOf is the closed alerts of a device, and the number of those that are still
// being dealt with: what is found out of them is not for their subject yet.
func AlertsOf(cfg *configs.Config, device string) (closed []alerts.Alert, open int, err error) {
	dir := filepath.Join(cfg.Box.Data, alertsDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil // the box has not run yet, so nothing was raised
	}
	listing, err := alerts.List(dir)
	if err != nil {
		return nil, 0, err
	}
	for i := range listing.Alerts {
		switch a := &listing.Alerts[i]; {
		case device == "" || a.Device != device:
		case a.State == alerts.StateClosed:
			closed = append(closed, *a)
		default:
			open++
		}
	}
	return closed, open, nil
}
