package outbound

import "testing"

func TestControl(t *testing.T) {
	for address, allowed := range map[string]bool{
		"169.254.169.254:80": false, "169.254.0.1:443": false, "[fe80::1%eth0]:80": false, "[::ffff:169.254.169.254]:80": false, "[fd00:ec2::254]:80": false,
		"127.0.0.1:80": true, "10.0.0.1:443": true, "93.184.216.34:443": true, "[2606:4700::1]:443": true,
	} {
		if err := Control("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestHosts(t *testing.T) {
	hosts := Hosts{"api.openai.com", "*.internal.example", "127.0.0.1:8080"}
	for address, allowed := range map[string]bool{
		"https://api.openai.com/v1": true, "https://API.OpenAI.com:443/v1": true, "https://api.openai.com.evil.example/": false, "https://llm.internal.example/": true,
		"https://internal.example/": false, "http://127.0.0.1:8080/v1": true, "http://127.0.0.1:8081/v1": false, "http://user@evil.example/api.openai.com": false, "::": false,
	} {
		if err := hosts.Allow(address); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := (Hosts{}).Allow("http://anything"); err != nil {
		t.Error(err)
	}
}
