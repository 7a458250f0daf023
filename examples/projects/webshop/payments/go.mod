module example.com/webshop/payments

go 1.21

require (
	github.com/golang-jwt/jwt/v4 v4.5.1
	github.com/tidwall/gjson v1.9.2
	golang.org/x/crypto v0.17.0
)

require (
	golang.org/x/net v0.15.0 // indirect
	golang.org/x/text v0.14.0 // indirect
)
