module example.com/clean/worker

go 1.23

require (
	github.com/golang-jwt/jwt/v5 v5.2.2
	golang.org/x/crypto v0.31.0
)

require (
	golang.org/x/text v0.21.0 // indirect
)
