// agent stands in for cilium-agent at its socket: it gives out addresses, and does with routes and addresses of the
// host's ends what Cilium does with programs in the kernel.
//
//	IPAM=cluster-pool              or delegated-plugin
//	ADDRESSES=10.0.1.10,fd00:1::10 one of each family is given to each pod
//	ROUTER=10.0.1.1,fd00:1::1      the pods' next hops
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/cilium/api/v1/models"
)

const socket = "/var/run/cilium/cilium.sock"

func isV6(address string) bool { return strings.Contains(address, ":") }

// ofFamilies: the first address of each family in a list.
func ofFamilies(list []string) (v4, v6 string) {
	for _, address := range slices.Backward(list) {
		if isV6(address) {
			v6 = address
		} else {
			v4 = address
		}
	}
	return v4, v6
}

type agent struct {
	sync.Mutex
	mode, router4, router6 string
	free                   []string
	endpoints              map[string]*models.EndpointChangeRequest
}

func (a *agent) addressing() *models.NodeAddressing {
	element := func(ip string) *models.NodeAddressingElement {
		return &models.NodeAddressingElement{Enabled: ip != "", IP: ip}
	}
	return &models.NodeAddressing{IPv4: element(a.router4), IPv6: element(a.router6)}
}

func (a *agent) configuration(*http.Request) (int, any) {
	return http.StatusOK, &models.DaemonConfiguration{Status: &models.DaemonConfigurationStatus{
		Addressing: a.addressing(), DatapathMode: models.DatapathModeVeth, IpamMode: a.mode, DeviceMTU: 1500, RouteMTU: 1450,
	}}
}

func (a *agent) allocate(*http.Request) (int, any) {
	v4, v6 := ofFamilies(a.free)
	if v4 == "" || v6 == "" {
		return http.StatusBadGateway, "no address is left"
	}
	a.free = slices.DeleteFunc(a.free, func(one string) bool { return one == v4 || one == v6 })
	return http.StatusCreated, &models.IPAMResponse{
		Address:        &models.AddressPair{IPv4: v4, IPv6: v6},
		HostAddressing: a.addressing(),
		IPv4:           &models.IPAMAddressResponse{IP: v4, Cidrs: []string{}},
		IPv6:           &models.IPAMAddressResponse{IP: v6, Cidrs: []string{}},
	}
}

func (a *agent) release(address string) {
	if address != "" && !slices.Contains(a.free, address) {
		a.free = append([]string{address}, a.free...)
	}
}

func (a *agent) releaseOne(r *http.Request) (int, any) {
	a.release(r.PathValue("ip"))
	return http.StatusOK, nil
}

func (a *agent) create(r *http.Request) (int, any) {
	request := &models.EndpointChangeRequest{}
	if err := json.NewDecoder(r.Body).Decode(request); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	how := request.DatapathConfiguration
	if how == nil || how.RequireRouting == nil || *how.RequireRouting {
		if err := a.route(request); err != nil {
			return http.StatusInternalServerError, err.Error()
		}
	}
	id := "cni-attachment-id:" + request.ContainerID + ":" + request.ContainerInterfaceName
	a.endpoints[id] = request
	return http.StatusCreated, &models.Endpoint{ID: int64(len(a.endpoints))}
}

// route lets the pod reach its next hop, and the host the pod.
func (a *agent) route(request *models.EndpointChangeRequest) error {
	for _, one := range []struct{ address, router, length string }{
		{request.Addressing.IPv4, a.router4, "32"}, {request.Addressing.IPv6, a.router6, "128"},
	} {
		if one.address == "" {
			continue
		}
		address, _, _ := strings.Cut(one.address, "/")
		for _, words := range [][]string{
			{"address", "replace", one.router + "/" + one.length, "dev", request.InterfaceName, "nodad"},
			{"link", "set", request.InterfaceName, "up"},
			{"route", "replace", address + "/" + one.length, "dev", request.InterfaceName},
		} {
			if !isV6(one.router) {
				words = slices.DeleteFunc(words, func(word string) bool { return word == "nodad" })
			}
			if said, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %s", strings.Join(words, " "), said)
			}
		}
	}
	return nil
}

func (a *agent) remove(r *http.Request) (int, any) {
	request, known := a.endpoints[r.PathValue("id")]
	if !known {
		return http.StatusNotFound, nil
	}
	delete(a.endpoints, r.PathValue("id"))
	if !request.DatapathConfiguration.ExternalIpam {
		a.release(request.Addressing.IPv4)
		a.release(request.Addressing.IPv6)
	}
	return http.StatusOK, 0
}

func (a *agent) health(r *http.Request) (int, any) {
	if _, known := a.endpoints[r.PathValue("id")]; !known {
		return http.StatusNotFound, nil
	}
	return http.StatusOK, &models.EndpointHealth{OverallHealth: models.EndpointHealthStatusOK}
}

func (a *agent) serve(pattern string, answer func(*http.Request) (int, any)) {
	http.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a.Lock()
		defer a.Unlock()
		status, body := answer(r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if body != nil {
			if err := json.NewEncoder(w).Encode(body); err != nil {
				log.Print(pattern, ": ", err)
			}
		}
	})
}

func main() {
	router4, router6 := ofFamilies(strings.Split(os.Getenv("ROUTER"), ","))
	if router4 == "" || router6 == "" || os.Getenv("IPAM") == "" {
		log.Fatal("IPAM and a ROUTER of each family are needed")
	}
	a := &agent{
		mode: os.Getenv("IPAM"), router4: router4, router6: router6,
		free:      strings.Split(os.Getenv("ADDRESSES"), ","),
		endpoints: map[string]*models.EndpointChangeRequest{},
	}
	a.serve("GET /v1/config", a.configuration)
	a.serve("GET /v1/healthz", func(*http.Request) (int, any) { return http.StatusOK, &models.StatusResponse{} })
	a.serve("POST /v1/ipam", a.allocate)
	a.serve("DELETE /v1/ipam/{ip}", a.releaseOne)
	a.serve("PUT /v1/endpoint/{id}", a.create)
	a.serve("DELETE /v1/endpoint/{id}", a.remove)
	a.serve("GET /v1/endpoint/{id}/healthz", a.health)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, nil))
}
