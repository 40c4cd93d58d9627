// Package imguploader is left out of this build: no picture leaves a test.
package imguploader

import "context"

// ImageUploader takes a picture.
type ImageUploader interface {
	Upload(ctx context.Context, path string) (string, error)
}

type none struct{}

// Upload does nothing.
func (none) Upload(context.Context, string) (string, error) { return "", nil }

// NewImageUploader gives the one that does nothing.
func NewImageUploader() (ImageUploader, error) { return none{}, nil }
