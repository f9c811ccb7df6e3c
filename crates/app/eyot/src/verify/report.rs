//! Promised, measured, verdict. Entry points: [`Line::new`], [`print`].

use std::process::ExitCode;

use anyhow::Result;
use eyot_advise::{
    Lang, Named, Text,
    render::{Promise, Promised},
    unit::Quantity,
};
use serde_json::{Value, json};

use super::{
    BROKEN, UNKNOWN,
    measure::{Figure, Outcome},
};
use crate::advise::{
    flags::Format,
    print_json, print_report,
    report::{Report, Section},
};

/// What came of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Kept,
    /// As far as it was measured.
    Partly(Text),
    Broken,
    NotMeasured(Text),
}

/// One promise with its verdict.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) promise: Promise,
    pub(super) figure: Option<Figure>,
    pub(super) verdict: Verdict,
}

/// All of it, with what figures mean nothing without.
pub(super) struct Verification {
    pub(super) lines: Vec<Line>,
    pub(super) machine: String,
    pub(super) version: String,
    pub(super) date: String,
}

impl Line {
    /// Holds a measurement against its promise.
    pub(super) fn new(promise: Promise, outcome: Outcome) -> Self {
        let figure = match outcome {
            Outcome::Unknown(why) => return Self { promise, figure: None, verdict: Verdict::NotMeasured(why) },
            Outcome::Taken(figure) => figure,
        };
        let verdict = match &figure.leaves_open {
            Some(what) if promise_is_open(&promise, &figure) => Verdict::Partly(what.clone()),
            _ if promise.kept_by(figure.value) => Verdict::Kept,
            _ => Verdict::Broken,
        };
        Self { promise, figure: Some(figure), verdict }
    }

    /// The measured amount as people write it.
    pub(super) fn measured(&self) -> String {
        let (Some(figure), Some(what)) = (&self.figure, self.promise.promised()) else { return "-".to_owned() };
        let shown = |value| Quantity { value, unit: what.unit() }.to_string();
        match figure.usual {
            // A restart's time says more than the promised days.
            Some(usual) if what == Promised::Offline => shown(usual),
            Some(usual) => format!("{} (p50 {})", shown(figure.value), shown(usual)),
            None => shown(figure.value),
        }
    }

    fn json(&self) -> Value {
        let unit = self.promise.promised().map(|it| it.unit().word());
        let (verdict, reason) = match &self.verdict {
            Verdict::Kept => ("kept", None),
            Verdict::Partly(why) => ("partly", Some(why)),
            Verdict::Broken => ("broken", None),
            Verdict::NotMeasured(why) => ("not_measured", Some(why)),
        };
        json!({
            "what": self.promise.what, "promised": self.promise, "measured": self.measured(),
            "value": self.figure.as_ref().map(|it| it.value), "usual": self.figure.as_ref().and_then(|it| it.usual),
            "unit": unit, "how": self.figure.as_ref().map(|it| &it.how), "verdict": verdict, "reason": reason,
        })
    }
}

/// Whether what was measured fits and yet does not show all of the promise.
fn promise_is_open(promise: &Promise, figure: &Figure) -> bool {
    figure.leaves_open.is_some() && (promise.promised() == Some(Promised::Density) || promise.kept_by(figure.value))
}

impl Verification {
    /// What the shell is told.
    pub(super) fn code(&self) -> ExitCode {
        let any = |is: fn(&Verdict) -> bool| self.lines.iter().any(|it| is(&it.verdict));
        match () {
            () if any(|it| *it == Verdict::Broken) => ExitCode::from(BROKEN),
            () if any(|it| matches!(it, Verdict::NotMeasured(_))) => ExitCode::from(UNKNOWN),
            () => ExitCode::SUCCESS,
        }
    }
}

pub(super) fn print(told: &Verification, format: Format, lang: Lang) -> Result<()> {
    if format == Format::Json {
        let lines: Vec<_> = told.lines.iter().map(Line::json).collect();
        return print_json(&json!({
            "date": told.date, "machine": told.machine, "version": told.version, "promises": lines }));
    }
    let say = |en: &'static str, zh: &'static str| if lang == Lang::Zh { zh } else { en };
    let mut report = Report::new(format!("{}; {}; {}", told.version, told.machine, told.date));
    let rows = told.lines.iter().map(|line| {
        let what = line.promise.promised().map_or(line.promise.what.as_str(), |it| it.name(lang));
        let how = line.figure.as_ref().map_or("", |it| it.how.get(lang));
        vec![what.to_owned(), line.promise.shown(), line.measured(), verdict(&line.verdict, lang), how.to_owned()]
    });
    let header = [
        say("what", "项目"),
        say("promised", "承诺"),
        say("measured", "实测"),
        say("verdict", "结论"),
        say("how", "方法"),
    ];
    report.add(Section::new(say("Promises", "承诺验证")).rows(&header, rows.collect()));
    print_report(&report, format)
}

fn verdict(verdict: &Verdict, lang: Lang) -> String {
    match (verdict, lang) {
        (Verdict::Kept, Lang::En) => "kept".to_owned(),
        (Verdict::Kept, Lang::Zh) => "兑现".to_owned(),
        (Verdict::Broken, Lang::En) => "BROKEN".to_owned(),
        (Verdict::Broken, Lang::Zh) => "未兑现".to_owned(),
        (Verdict::Partly(why), Lang::En) => format!("kept in part: {}", why.en),
        (Verdict::Partly(why), Lang::Zh) => format!("部分兑现：{}", why.zh),
        (Verdict::NotMeasured(why), Lang::En) => format!("not measured: {}", why.en),
        (Verdict::NotMeasured(why), Lang::Zh) => format!("未测量：{}", why.zh),
    }
}

#[cfg(test)]
mod tests {
    use eyot_advise::render::Bound;

    use super::*;

    fn promise(what: &str, bound: Bound, value: &str) -> Promise {
        let text = |it: &str| it.to_owned();
        Promise {
            what: text(what),
            bound,
            value: text(value),
            source: text("scenario"),
            technology: text("t"),
            metric: text("m"),
        }
    }

    fn line(what: &str, bound: Bound, value: &str, measured: Option<i64>, open: bool) -> Line {
        let leaves_open = open.then(|| Text::new("a sample", "抽样"));
        let figure = |value| {
            Outcome::Taken(Figure { value, usual: None, how: Text::default(), leaves_open: leaves_open.clone() })
        };
        Line::new(promise(what, bound, value), measured.map_or_else(|| Outcome::unknown("no", "无"), figure))
    }

    #[test]
    fn a_sample_that_fits_keeps_a_promise_in_part_only() {
        let open = Verdict::Partly(Text::new("a sample", "抽样"));
        assert_eq!(line("coldStart", Bound::Below, "10ms", Some(6_000_000), false).verdict, Verdict::Kept);
        assert_eq!(line("coldStart", Bound::Below, "10ms", Some(16_000_000), false).verdict, Verdict::Broken);
        assert_eq!(line("density", Bound::AtLeast, "3000", Some(100), true).verdict, open);
        assert_eq!(line("density", Bound::AtLeast, "3000", Some(100), false).verdict, Verdict::Broken);
        assert_eq!(line("coldStart", Bound::Below, "10ms", Some(16_000_000), true).verdict, Verdict::Broken);
    }

    #[test]
    fn what_was_not_measured_never_passes() {
        let told = |lines: Vec<Line>| Verification {
            lines,
            machine: String::new(),
            version: String::new(),
            date: String::new(),
        };
        let kept = || line("coldStart", Bound::Below, "10ms", Some(1), false);
        let unknown = || line("scaleTime", Bound::AtMost, "30s", None, false);
        let broken = || line("coldStart", Bound::Below, "10ms", Some(16_000_000), false);
        let code = |lines| format!("{:?}", told(lines).code());
        assert_eq!(code(vec![kept()]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(vec![kept(), unknown()]), format!("{:?}", ExitCode::from(UNKNOWN)));
        assert_eq!(code(vec![unknown(), broken()]), format!("{:?}", ExitCode::from(BROKEN)));
        assert_eq!(verdict(&unknown().verdict, Lang::En), "not measured: no");
    }
}
