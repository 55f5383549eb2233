// Command gpus is a device plugin: it registers GPUs that do not exist with the
// kubelet of its node. Two files in the folder -control steer it, read five
// times a second:
//
//	healthy  number of healthy devices (the others are unhealthy), or "none": no device at all
//	refuse   while it exists, every allocation fails with its content
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	socketName      = "gpus.sock"
	pollInterval    = 200 * time.Millisecond
	retryInterval   = 500 * time.Millisecond
	registerTimeout = 5 * time.Second
)

var (
	resource = flag.String("resource", "nvidia.com/gpu", "resource name")
	count    = flag.Int("count", 4, "devices")
	control  = flag.String("control", "/etc/gpus", "folder of the files that steer it")
)

func main() {
	flag.Parse()
	for {
		if err := serveOnce(); err != nil {
			log.Print(err)
		}
		time.Sleep(retryInterval)
	}
}

// serveOnce serves until the socket is gone: a kubelet that starts empties the
// folder, and wants every plugin to register again.
func serveOnce() error {
	socket := filepath.Join(api.DevicePluginPath, socketName)
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, plugin{})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	if err := register(); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	log.Print("registered")
	for {
		time.Sleep(pollInterval)
		if _, err := os.Stat(socket); err != nil {
			return errors.New("the socket is gone: the kubelet has started again")
		}
	}
}

func register() error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), registerTimeout)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: socketName, ResourceName: *resource}
	_, err = api.NewRegistrationClient(connection).Register(ctx, request)
	return err
}

type plugin struct {
	api.UnimplementedDevicePluginServer
}

func (plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	for announced := ""; ; {
		if state := healthy(); state != announced {
			log.Printf("healthy: %s", state)
			if err := stream.Send(&api.ListAndWatchResponse{Devices: devices(state)}); err != nil {
				return err
			}
			announced = state
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(pollInterval):
		}
	}
}

func healthy() string {
	content, err := os.ReadFile(filepath.Join(*control, "healthy"))
	if err != nil {
		return strconv.Itoa(*count)
	}
	return strings.TrimSpace(string(content))
}

func devices(state string) []*api.Device {
	if state == "none" {
		return nil
	}
	healthyCount, _ := strconv.Atoi(state)
	all := make([]*api.Device, *count)
	for i := range all {
		all[i] = &api.Device{ID: fmt.Sprintf("gpu-%d", i), Health: api.Unhealthy}
		if i < healthyCount {
			all[i].Health = api.Healthy
		}
	}
	return all
}

func (plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	if reason, err := os.ReadFile(filepath.Join(*control, "refuse")); err == nil {
		return nil, errors.New(strings.TrimSpace(string(reason)))
	}
	answer := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		log.Printf("allocate %v", container.DevicesIds)
		visible := strings.Join(container.DevicesIds, ",")
		response := &api.ContainerAllocateResponse{Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": visible}}
		answer.ContainerResponses = append(answer.ContainerResponses, response)
	}
	return answer, nil
}
