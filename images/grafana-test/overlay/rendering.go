// Package rendering is left out of this build: there are no pages to take a picture of.
package rendering

import (
	"context"
	"errors"
	"time"

	"github.com/grafana/grafana/pkg/models"
	"github.com/grafana/grafana/pkg/registry"
)

// What callers compare with.
var (
	ErrTimeout               = errors.New("timeout")
	ErrPhantomJSNotInstalled = errors.New("rendering is not part of this build")
)

// Opts says what picture is wanted.
type Opts struct {
	Width           int
	Height          int
	Timeout         time.Duration
	OrgId           int64
	UserId          int64
	OrgRole         models.RoleType
	Path            string
	Encoding        string
	Timezone        string
	ConcurrentLimit int
}

// RenderResult is a picture.
type RenderResult struct{ FilePath string }

// Service takes pictures.
type Service interface {
	Render(ctx context.Context, opts Opts) (*RenderResult, error)
}

type none struct{}

func init() { registry.RegisterService(&none{}) }

// Init has nothing to do.
func (*none) Init() error { return nil }

// Render refuses.
func (*none) Render(context.Context, Opts) (*RenderResult, error) {
	return nil, ErrPhantomJSNotInstalled
}
