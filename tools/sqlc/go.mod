module github.com/kneo-go/kneo/tools/sqlc

go 1.26.0
