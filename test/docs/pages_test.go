package docs

// pages are the pages whose sh blocks are executed, each in a folder of its own.
var pages = []string{
	"docs/user/quickstart.md",
	"docs/user/events.md",
	"docs/user/human-tasks.md",
	"docs/user/idempotency.md",
	"docs/user/errors.md",
	"docs/user/switching.md",
}
