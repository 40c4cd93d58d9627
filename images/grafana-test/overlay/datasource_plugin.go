package plugins

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/grafana/grafana/pkg/log"
)

// DataSourcePlugin is what plugin.json says of a data source; programs of plugins are left out of this build.
type DataSourcePlugin struct {
	FrontendPluginBase
	Annotations  bool              `json:"annotations"`
	Metrics      bool              `json:"metrics"`
	Alerting     bool              `json:"alerting"`
	Explore      bool              `json:"explore"`
	Table        bool              `json:"tables"`
	Logs         bool              `json:"logs"`
	QueryOptions map[string]bool   `json:"queryOptions,omitempty"`
	BuiltIn      bool              `json:"builtIn,omitempty"`
	Mixed        bool              `json:"mixed,omitempty"`
	Routes       []*AppPluginRoute `json:"routes"`
	Backend      bool              `json:"backend,omitempty"`
	Executable   string            `json:"executable,omitempty"`
}

// Load registers it.
func (p *DataSourcePlugin) Load(decoder *json.Decoder, pluginDir string) error {
	if err := decoder.Decode(&p); err != nil {
		return err
	}
	if err := p.registerPlugin(pluginDir); err != nil {
		return err
	}
	DataSources[p.Id] = p
	return nil
}

func (p *DataSourcePlugin) startBackendPlugin(context.Context, log.Logger) error {
	return errors.New("programs of plugins are not part of this build")
}

// Kill has nothing to end.
func (p *DataSourcePlugin) Kill() {}
