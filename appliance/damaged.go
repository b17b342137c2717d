package appliance

import (
	"schoolgate/supply"

	"github.com/prometheus/client_golang/prometheus"
)

// damageNow is what the running box had to pass over when it opened its store.
func (a *Appliance) damageNow() supply.Damage {
	d := supply.Damage{Answers: a.store.Load().Version()}
	if a.standsIn(a.store.Load()) {
		d.Answers = 0
	}
	if skipped := a.passedOver.Load(); skipped != nil {
		d.Versions = *skipped
	}
	return d
}

// damageMetric counts the versions that were passed over.
func (a *Appliance) damageMetric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "schoolgate_lists_store_damaged",
		Help: "Versions of the category store that should be in force and cannot be read; an older one answers, or the starter lists do.",
	}, func() float64 {
		if skipped := a.passedOver.Load(); skipped != nil {
			return float64(len(*skipped))
		}
		return 0
	})
}
