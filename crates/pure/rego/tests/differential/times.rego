# input: {"at": 1700000000000000000}
package t

parsed := [
	time.parse_rfc3339_ns("2023-11-14T22:13:20Z"),
	time.parse_ns("2006-01-02", "2023-11-14"),
	time.parse_duration_ns("1h15m30.5s"),
]

shown := [
	time.format(input.at),
	time.format([input.at, "Europe/Berlin"]),
	time.format([input.at, "UTC", "RFC822Z"]),
	time.format([input.at, "", "Mon Jan _2 2006 3:04PM"]),
]

parts := [time.date(input.at), time.clock(input.at), time.weekday(input.at), time.date([input.at, "Asia/Tokyo"])]

moved := [time.add_date(input.at, 1, 2, 3), time.diff(input.at, 1600000000000000000)]

