# input: {"text": "hello wörld?&=/"}
package t

based := [
	base64.encode(input.text),
	base64.decode("aGVsbG8="),
	base64url.encode(input.text),
	base64url.encode_no_pad("a"),
	base64url.decode("YQ"),
	base64.is_valid("a"),
	hex.encode("az"),
	hex.decode("617a"),
]

urls := [
	urlquery.encode(input.text),
	urlquery.decode("a%20b+c"),
	urlquery.encode_object({"a": "1", "b": ["2", "3"]}),
	urlquery.decode_object("a=1&b=2&b=3"),
]

hashes := [
	crypto.md5("a"),
	crypto.sha1("a"),
	crypto.sha256("a"),
	crypto.hmac.sha256("message", "key"),
	crypto.hmac.md5("message", "key"),
	crypto.hmac.equal("a", "b"),
]

networks := [
	net.cidr_contains("10.0.0.0/8", "10.1.2.3"),
	net.cidr_contains("10.0.0.0/8", "10.1.0.0/16"),
	net.cidr_intersects("10.0.0.0/8", "11.0.0.0/8"),
	net.cidr_expand("10.0.0.0/30"),
	net.cidr_merge(["10.0.0.0/25", "10.0.0.128/25"]),
	net.cidr_is_valid("10.0.0.0/33"),
	net.cidr_contains_matches(["10.0.0.0/8"], ["10.1.1.1", "11.1.1.1"]),
]

versions := [
	semver.compare("1.2.3", "1.10.0"),
	semver.compare("1.0.0-alpha", "1.0.0"),
	semver.is_valid("v1"),
]

tokens := [
	io.jwt.decode("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.x0Z9KbPQbKQVvZ3VzAQ0bG3rVYVYVYVYVYVYVYVYVYU"),
	io.jwt.encode_sign({"alg": "HS256"}, {"a": 1}, {"kty": "oct", "k": "c2VjcmV0"}),
	io.jwt.verify_hs256("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.AAAA", "secret"),
]

uuids := [uuid.parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), count(uuid.rfc4122("k"))]
