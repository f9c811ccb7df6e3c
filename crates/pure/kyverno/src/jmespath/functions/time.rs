//! Points in time and spans between them.
//!
//! Times are RFC 3339 texts that keep their offset; layouts are Go's (`Mon Jan 2 15:04:05 MST 2006`).

use serde_json::Value;

use super::{Call, Function, SearchError, function};
use crate::{
    duration,
    gotime::{self, Moment},
};

type Made = Result<Value, SearchError>;

pub(super) const TABLE: &[Function] = &[
    function("time_since", 3, since),
    function("time_now", 0, now),
    function("time_now_utc", 0, now),
    function("time_add", 2, |it| Ok(moment(it, 0)?.add(span(it, 1)?).to_string().into())),
    function("time_parse", 2, parse),
    function("time_to_cron", 1, to_cron),
    function("time_utc", 1, |it| Ok(moment(it, 0)?.utc().to_string().into())),
    function("time_diff", 2, |it| Ok(duration::format(moment(it, 1)?.since(moment(it, 0)?)).into())),
    function("time_before", 2, |it| Ok((moment(it, 0)?.instant() < moment(it, 1)?.instant()).into())),
    function("time_after", 2, |it| Ok((moment(it, 0)?.instant() > moment(it, 1)?.instant()).into())),
    function("time_between", 3, between),
    function("time_truncate", 2, |it| Ok(moment(it, 0)?.truncate(span(it, 1)?).to_string().into())),
];

fn moment(call: &Call<'_>, at: usize) -> Result<Moment, SearchError> {
    let text = call.text(at)?;
    gotime::parse(gotime::RFC3339, text).map_err(|it| call.fails(it))
}

fn span(call: &Call<'_>, at: usize) -> Result<i64, SearchError> {
    let text = call.text(at)?;
    duration::parse(text).ok_or_else(|| call.fails(format!("time: invalid duration {text:?}")))
}

fn now(call: &Call<'_>) -> Made {
    Ok(Moment::from_timestamp(call.env.now).to_string().into())
}

fn since(call: &Call<'_>) -> Made {
    let layout = match call.text(0)? {
        "" => gotime::RFC3339,
        layout => layout,
    };
    let read = |text: &str| gotime::parse(layout, text).map_err(|it| call.fails(it));
    let to = match call.text(2)? {
        "" => Moment::from_timestamp(call.env.now),
        text => read(text)?,
    };
    Ok(duration::format(to.since(read(call.text(1)?)?)).into())
}

fn parse(call: &Call<'_>) -> Made {
    let (layout, text) = (call.text(0)?, call.text(1)?);
    if layout.parse::<i64>().is_ok() {
        let seconds = text.parse::<i64>().map_err(|it| call.fails(it))?;
        return Ok(Moment::from_seconds(seconds).to_string().into());
    }
    Ok(gotime::parse(layout, text).map_err(|it| call.fails(it))?.to_string().into())
}

fn to_cron(call: &Call<'_>) -> Made {
    let time = moment(call, 0)?.civil();
    let weekday = time.weekday().to_sunday_zero_offset();
    Ok(format!("{} {} {} {} {weekday}", time.minute(), time.hour(), time.day(), time.month()).into())
}

fn between(call: &Call<'_>) -> Made {
    let (time, start, end) = (moment(call, 0)?, moment(call, 1)?, moment(call, 2)?);
    Ok((time.instant() > start.instant() && time.instant() < end.instant()).into())
}
