//! What a request for logs asks for (`/system/logs`).

/// The query, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Name of the function.
    pub name: String,
    /// Its namespace, where one is named.
    pub namespace: Option<String>,
    /// One instance only: the name of its pod.
    pub instance: Option<String>,
    /// Last lines of each instance; all when absent.
    pub tail: Option<u32>,
    /// Whether to go on as long as lines are written.
    pub follow: bool,
    /// Only what was written after this moment, RFC 3339.
    pub since: Option<String>,
}

impl LogQuery {
    /// Reads pairs of names and values; of one name, the last counts. `is_time` knows RFC 3339.
    ///
    /// # Errors
    ///
    /// What is missing or makes no sense.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        is_time: impl Fn(&str) -> bool,
    ) -> Result<LogQuery, String> {
        let mut query = LogQuery::default();
        for (name, value) in pairs {
            let text = (!value.is_empty()).then(|| value.to_owned());
            match name {
                "name" => query.name = value.to_owned(),
                "namespace" => query.namespace = text,
                "instance" => query.instance = text,
                "follow" => query.follow = matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"),
                "tail" if value.is_empty() => query.tail = None,
                "tail" => {
                    let lines: i64 = value.parse().map_err(|_| format!("tail: {value:?} is no number"))?;
                    query.tail = u32::try_from(lines).ok().filter(|it| *it > 0);
                }
                "since" => {
                    if let Some(since) = text.as_deref().filter(|it| !is_time(it)) {
                        return Err(format!("since: {since:?} is no time in RFC 3339"));
                    }
                    query.since = text;
                }
                other => return Err(format!("{other}: no such parameter")),
            }
        }
        if query.name.is_empty() {
            return Err("name: is required".to_owned());
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_refused() {
        let parse =
            |pairs: &[(&'static str, &'static str)]| LogQuery::parse(pairs.iter().copied(), |it| it.ends_with('Z'));
        let all = parse(&[
            ("name", "a"),
            ("follow", "true"),
            ("tail", "5"),
            ("since", "2026-01-01T00:00:00Z"),
            ("instance", "p"),
        ]);
        let all = all.unwrap();
        assert_eq!((all.name.as_str(), all.tail, all.follow), ("a", Some(5), true));
        assert_eq!((all.since.as_deref(), all.instance.as_deref()), (Some("2026-01-01T00:00:00Z"), Some("p")));
        assert_eq!(parse(&[("name", "a"), ("tail", "-1")]).unwrap().tail, None, "unlimited");
        assert_eq!(parse(&[("follow", "true")]).unwrap_err(), "name: is required");
        assert_eq!(parse(&[("name", "a"), ("tail", "x")]).unwrap_err(), "tail: \"x\" is no number");
        assert_eq!(parse(&[("name", "a"), ("since", "1h")]).unwrap_err(), "since: \"1h\" is no time in RFC 3339");
        assert_eq!(parse(&[("name", "a"), ("until", "1")]).unwrap_err(), "until: no such parameter");
    }
}
