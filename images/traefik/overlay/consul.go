// Package consul is left out of this build: the edge of a local cluster reads Ingresses only.
package consul

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider refuses to start.
type Provider struct{}

// SetDefaults has nothing to set.
func (p *Provider) SetDefaults() {}

// Init says why this provider cannot be used.
func (p *Provider) Init() error { return errors.New("the provider consul is not part of this build") }

// Provide is never reached.
func (p *Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }

// ProviderBuilder has nothing to configure.
type ProviderBuilder struct{}

// BuildProviders gives the one provider that refuses to start.
func (p *ProviderBuilder) BuildProviders() []*Provider { return []*Provider{{}} }
