// Package main is the network of a local cluster's node: it writes the CNI configuration for the node's pod range, routes to the other
// nodes' pod ranges, masquerades what leaves the cluster, and enforces NetworkPolicies with kube-router's controller.
//
// Pods are attached by ptp, not by a bridge: bridged traffic would bypass the policies where the kernel has no br_netfilter.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/coreos/go-iptables/iptables"
	"github.com/spf13/pflag"
	"github.com/vishvananda/netlink"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	masqueradeChain = "TWISTERLAB-MASQ"
	heartbeats      = 10
	syncTimeout     = time.Minute
)

// settings is what the DaemonSet gives this program.
type settings struct {
	node      string
	podSubnet string
	cniFolder string
	mtu       int
}

func main() {
	klog.InitFlags(nil)
	var set settings
	policy := options.NewKubeRouterConfig()
	policy.EnableIPv4, policy.EnableIPv6 = true, false
	policy.HealthPort = 20244
	pflag.StringVar(&set.node, "node", os.Getenv("NODE_NAME"), "name of this node")
	pflag.StringVar(&set.podSubnet, "pod-subnet", os.Getenv("POD_SUBNET"), "pod range of the whole cluster")
	pflag.StringVar(&set.cniFolder, "cni-folder", "/etc/cni/net.d", "where the CNI configuration is written")
	pflag.IntVar(&set.mtu, "mtu", 0, "MTU of the pods' interfaces; 0 takes that of the default route")
	pflag.StringSliceVar(&policy.ClusterIPCIDRs, "service-subnet", policy.ClusterIPCIDRs, "range of the Services")
	pflag.CommandLine.AddGoFlagSet(flag.CommandLine)
	pflag.Parse()
	policy.HostnameOverride = set.node
	policy.RunFirewall = true
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, set, policy); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run sets the network up and keeps it right until ctx ends.
func run(ctx context.Context, set settings, policy *options.KubeRouterConfig) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("no cluster configuration: %w", err)
	}
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint // kind names it, so that this need not wait for kube-proxy
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("no client: %w", err)
	}
	node, err := waitForRange(ctx, client, set.node)
	if err != nil {
		return err
	}
	if set.mtu == 0 {
		set.mtu = defaultMTU()
	}
	if err := masquerade(set.podSubnet); err != nil {
		return fmt.Errorf("masquerade rule: %w", err)
	}
	if err := writeCNI(set, node.Spec.PodCIDR); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	klog.Infof("network of node %s: pods %s of %s, MTU %d", set.node, node.Spec.PodCIDR, set.podSubnet, set.mtu)
	return enforce(ctx, client, set, policy)
}

// waitForRange returns this node once the controller manager has given it a pod range.
func waitForRange(ctx context.Context, client kubernetes.Interface, name string) (*core.Node, error) {
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, name, meta.GetOptions{})
		if err == nil && node.Spec.PodCIDR != "" {
			return node, nil
		}
		klog.Infof("waiting for the pod range of node %s: %v", name, err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// enforce runs the policy controller and keeps the routes to other nodes.
func enforce(ctx context.Context, client kubernetes.Interface, set settings, policy *options.KubeRouterConfig) error {
	stopCh := ctx.Done()
	stop := make(chan struct{})
	go func() { <-stopCh; close(stop) }()
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	nodes := factory.Core().V1().Nodes().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	if _, err := nodes.AddEventHandler(routes(set.node)); err != nil {
		return err
	}
	factory.Start(stop)
	timeout, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	for kind, synced := range factory.WaitForCacheSync(timeout.Done()) {
		if !synced {
			return fmt.Errorf("could not list %v within %s", kind, syncTimeout)
		}
	}
	commands, sets, err := netpol.NewIPTablesHandlers(policy)
	if err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	var setLock sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, policy, pods, policies, namespaces, &setLock, commands, sets)
	if err != nil {
		return fmt.Errorf("policy controller: %w", err)
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	health := make(chan *healthcheck.ControllerHeartbeat, heartbeats)
	checks, err := healthcheck.NewHealthController(policy)
	if err != nil {
		return err
	}
	checks.SetAlive()
	var group sync.WaitGroup
	group.Add(3)
	go checks.RunServer(stop, &group)
	go checks.RunCheck(health, stop, &group)
	go controller.Run(health, stop, &group)
	<-stop
	return nil
}

// routes keeps one route per other node: its pod range through its address.
func routes(self string) cache.ResourceEventHandler {
	set := func(object any) {
		node, ok := object.(*core.Node)
		if !ok || node.Name == self || node.Spec.PodCIDR == "" {
			return
		}
		_, target, err := net.ParseCIDR(node.Spec.PodCIDR)
		if err != nil {
			return
		}
		for _, address := range node.Status.Addresses {
			if address.Type == core.NodeInternalIP {
				route := &netlink.Route{Dst: target, Gw: net.ParseIP(address.Address)}
				if err := netlink.RouteReplace(route); err != nil {
					klog.Errorf("route to %s: %v", node.Name, err)
				}
				return
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, object any) { set(object) }}
}

// masquerade hides pod addresses behind the node's for everything outside the cluster's pod range.
func masquerade(podSubnet string) error {
	tables, err := iptables.New()
	if err != nil {
		return err
	}
	if exists, err := tables.ChainExists("nat", masqueradeChain); err != nil {
		return err
	} else if !exists {
		if err := tables.NewChain("nat", masqueradeChain); err != nil {
			return err
		}
	}
	for _, rule := range [][]string{
		{"-d", podSubnet, "-j", "RETURN"},
		{"-j", "MASQUERADE"},
	} {
		if err := tables.AppendUnique("nat", masqueradeChain, rule...); err != nil {
			return err
		}
	}
	return tables.AppendUnique("nat", "POSTROUTING", "-s", podSubnet, "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", masqueradeChain)
}

// writeCNI puts the configuration in place with one rename: the kubelet must never read half of it.
func writeCNI(set settings, podRange string) error {
	configuration := map[string]any{
		"cniVersion": "0.3.1",
		"name":       "twisterlab",
		"plugins": []any{
			map[string]any{
				"type": "ptp", "ipMasq": false, "mtu": set.mtu,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/run/cni-ipam-state",
					"routes": []any{map[string]string{"dst": "0.0.0.0/0"}},
					"ranges": []any{[]any{map[string]string{"subnet": podRange}}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
	content, err := json.MarshalIndent(configuration, "", "  ")
	if err != nil {
		return err
	}
	target := filepath.Join(set.cniFolder, "10-twisterlab.conflist")
	if err := os.WriteFile(target+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(target+".new", target)
}

// defaultMTU is the MTU of the interface of the default route, 1500 when there is none.
func defaultMTU() int {
	found, err := netlink.RouteGet(net.IPv4(8, 8, 8, 8))
	if err == nil && len(found) > 0 {
		if link, err := netlink.LinkByIndex(found[0].LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return link.Attrs().MTU
		}
	}
	return 1500
}
