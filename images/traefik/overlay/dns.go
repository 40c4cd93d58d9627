// Package dns is left out of this build: certificates come from Secrets, and no provider's SDK is needed.
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
)

// NewDNSChallengeProviderByName says why a DNS challenge cannot be used.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("the DNS provider %q is not part of this build", name)
}
