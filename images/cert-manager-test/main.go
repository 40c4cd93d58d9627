// SPDX-License-Identifier: GPL-3.0-or-later

// The programs of cert-manager that a certificate by ACME needs, in one: `controller`, `webhook` and, without such a word, the solver of a challenge.
// The published module holds the libraries of those programs and not the programs, so this starts them; `crds` prints the kinds they work with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/cert-manager/cert-manager/internal/apis/config/shared"
	config "github.com/cert-manager/cert-manager/internal/apis/config/webhook"
	internalwebhook "github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/acme"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx = logf.NewContext(ctx, logf.Log)
	program, arguments := solve, os.Args[1:]
	if len(arguments) > 0 {
		if named, known := map[string]func(context.Context, []string) error{"controller": control, "webhook": answer, "crds": kinds}[arguments[0]]; known {
			program, arguments = named, arguments[1:]
		}
	}
	if err := program(ctx, arguments); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// control runs every controller that was imported above.
func control(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("controller", flag.ExitOnError)
	image := flags.String("acme-http01-solver-image", "", "image that answers challenges")
	namespace := flags.String("cluster-resource-namespace", "cert-manager", "namespace of what a ClusterIssuer keeps")
	metrics := flags.String("metrics-listen-address", ":9402", "where metrics are told")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	// The figures are those of upstream's command line.
	options := controller.ContextOptions{
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: *namespace},
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverImage:                 *image,
			HTTP01SolverResourceRequestCPU:    resource.MustParse("10m"),
			HTTP01SolverResourceRequestMemory: resource.MustParse("64Mi"),
			HTTP01SolverResourceLimitsCPU:     resource.MustParse("100m"),
			HTTP01SolverResourceLimitsMemory:  resource.MustParse("64Mi"),
			ACMEHTTP01SolverRunAsNonRoot:      true,
		},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
		SchedulerOptions: controller.SchedulerOptions{MaxConcurrentChallenges: 60},
	}
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return err
	}
	common, err := factory.Build()
	if err != nil {
		return err
	}
	made := map[string]controller.Interface{}
	for name, construct := range controller.Known() {
		if made[name], err = construct(factory); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	common.Metrics.SetupCertificateCollector(common.SharedInformerFactory.Certmanager().V1().Certificates().Lister())
	listener, err := net.Listen("tcp", *metrics)
	if err != nil {
		return err
	}
	server := common.Metrics.NewServer(listener)
	go func() { _ = server.Serve(listener) }()
	common.KubeSharedInformerFactory.Start(ctx.Done())
	common.SharedInformerFactory.Start(ctx.Done())
	common.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	failed := make(chan error, len(made))
	var running sync.WaitGroup
	for name, each := range made {
		running.Go(func() {
			if err := each.Run(5, ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
		running.Wait()
		return nil
	}
}

// answer runs the webhook that checks and completes what is written to the API server.
func answer(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("webhook", flag.ExitOnError)
	folder := flags.String("tls", "/tls", "folder of tls.crt and tls.key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := internalwebhook.NewCertManagerWebhookServer(logf.Log, config.WebhookConfiguration{
		SecurePort:           10250,
		HealthzPort:          6080,
		MetricsListenAddress: "0",
		TLSConfig: shared.TLSConfig{Filesystem: shared.FilesystemServingConfig{
			CertFile: filepath.Join(*folder, "tls.crt"),
			KeyFile:  filepath.Join(*folder, "tls.key"),
		}},
	})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// solve answers one challenge; the controller starts it with these flags.
func solve(_ context.Context, arguments []string) error {
	var one solver.HTTP01Solver
	flags := flag.NewFlagSet("acmesolver", flag.ExitOnError)
	flags.IntVar(&one.ListenPort, "listen-port", 8089, "where it listens")
	flags.StringVar(&one.Domain, "domain", "", "the name that is proven")
	flags.StringVar(&one.Token, "token", "", "what is asked")
	flags.StringVar(&one.Key, "key", "", "what is answered")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := one.Listen(logf.Log); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// kinds prints the definitions that came with this version.
func kinds(context.Context, []string) error {
	files, err := filepath.Glob("/crds/*.yaml")
	if err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Printf("---\n%s\n", text)
	}
	return nil
}
