// ipamd stands in for the daemon of Amazon's VPC network, as the program that it is started as, ./aws-k8s-agent: it
// answers what the plugin asks at its socket, and gives out addresses of a list instead of a cloud's.
//
//	ADDRESSES=10.99.1.10@1,10.99.1.11@2   each with the number of its network interface plus one: the routing table
//	NODE_IP=10.99.0.1                     what the cloud's metadata service would call the node's address
//
// The metadata service is beside it, at http://127.0.0.1:1338.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/amazon-vpc-cni-k8s/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	socket   = "/var/run/aws-node/ipamd.sock"
	metadata = "127.0.0.1:1338"
)

// The plugin takes a DEL for done when it reads these words.
var errUnknownPod = errors.New("datastore: unknown pod")

type attachment struct{ containerID, ifName, network string }

type backend struct {
	rpc.UnimplementedCNIBackendServer
	sync.Mutex
	free  []*rpc.IPAllocationMetadata
	given map[attachment]*rpc.IPAllocationMetadata
}

func (b *backend) AddNetwork(_ context.Context, in *rpc.AddNetworkRequest) (*rpc.AddNetworkReply, error) {
	b.Lock()
	defer b.Unlock()
	key := attachment{in.ContainerID, in.IfName, in.NetworkName}
	address, known := b.given[key]
	if !known {
		if len(b.free) == 0 {
			return &rpc.AddNetworkReply{}, nil
		}
		address, b.free = b.free[0], b.free[1:]
		b.given[key] = address
	}
	return &rpc.AddNetworkReply{Success: true, IPAllocationMetadata: []*rpc.IPAllocationMetadata{address}}, nil
}

func (b *backend) DelNetwork(_ context.Context, in *rpc.DelNetworkRequest) (*rpc.DelNetworkReply, error) {
	b.Lock()
	defer b.Unlock()
	key := attachment{in.ContainerID, in.IfName, in.NetworkName}
	address, known := b.given[key]
	if !known {
		return nil, errUnknownPod
	}
	delete(b.given, key)
	b.free = append([]*rpc.IPAllocationMetadata{address}, b.free...)
	return &rpc.DelNetworkReply{Success: true, IPAllocationMetadata: []*rpc.IPAllocationMetadata{address}}, nil
}

// parse makes of "ADDRESS@TABLE,..." what the daemon gives out.
func parse(list string) ([]*rpc.IPAllocationMetadata, error) {
	var all []*rpc.IPAllocationMetadata
	for _, item := range strings.Split(list, ",") {
		address, table, _ := strings.Cut(item, "@")
		number, err := strconv.Atoi(table)
		ip := net.ParseIP(address)
		if err != nil || ip == nil || number < 1 {
			return nil, fmt.Errorf("%q is no ADDRESS@TABLE", item)
		}
		one := &rpc.IPAllocationMetadata{DeviceNumber: int32(number - 1), RouteTableId: int32(number)}
		if number == 1 {
			one.RouteTableId = 254 // the main table is that of the first interface
		}
		if ip.To4() != nil {
			one.IPv4Addr = address
		} else {
			one.IPv6Addr = address
		}
		all = append(all, one)
	}
	return all, nil
}

// serveMetadata answers as the second version of the cloud's metadata service: a token, then values.
func serveMetadata(nodeIP string) error {
	http.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		fmt.Fprint(w, "token")
	})
	for _, key := range []string{"local-ipv4", "ipv6"} {
		http.HandleFunc("GET /latest/meta-data/"+key, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nodeIP) })
	}
	return http.ListenAndServe(metadata, nil)
}

func main() {
	free, err := parse(os.Getenv("ADDRESSES"))
	if err != nil {
		log.Fatal("ADDRESSES: ", err)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serveMetadata(os.Getenv("NODE_IP"))) }()
	server := grpc.NewServer()
	rpc.RegisterCNIBackendServer(server, &backend{free: free, given: map[attachment]*rpc.IPAllocationMetadata{}})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	log.Fatal(server.Serve(listener))
}
