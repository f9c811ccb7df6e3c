//! What a scenario requires of an option, and how the option answers: step 4 of §05.6.2. Entry point: [`matches`].

use super::{Match, Matched};
use crate::{
    Catalog, Scenario,
    catalog::{Technology, Want, Wanted},
    formal::{m, m_level},
    layer::{Feature, Level, Metric},
    reason::Reason,
    unit::Range,
};

/// A verdict with what it means for the option.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) matched: Matched,
    /// Whether a mismatch rules the option out.
    pub(super) hard: bool,
    /// Whether anything less than a match does.
    pub(super) strict: bool,
}

impl Judged {
    /// Whether the option cannot stay.
    pub(super) fn excludes(&self) -> bool {
        match self.matched.verdict {
            Match::Match => false,
            Match::Partial => self.strict,
            Match::Mismatch => self.hard || self.strict,
        }
    }
}

/// Every requirement of the scenario that the option's layer answers.
pub(super) fn matches(catalog: &Catalog, scenario: &Scenario, option: &Technology) -> Vec<Judged> {
    let asked = |it: &&Wanted| {
        it.layer == option.layer && scenario.values.contains_key(it.key.as_str()) && it.when.holds(scenario)
    };
    catalog.wanted.iter().filter(asked).filter_map(|it| judge(scenario, option, it)).collect()
}

fn judge(scenario: &Scenario, option: &Technology, wanted: &Wanted) -> Option<Judged> {
    let strict = scenario.strict.iter().any(|it| it.id.as_str() == wanted.key);
    let matched = match &wanted.want {
        Want::Metric { metric, share, per } => {
            let need = need(scenario, &wanted.key, *metric, *share, per.as_deref())?;
            number(scenario, option, wanted, *metric, need)
        }
        Want::Feature { feature, least, full } => property(scenario, option, wanted, *feature, *least, *full),
    };
    // An option that stands for nothing cannot fall short of a number.
    let exempt = option.empty && matched.metric.is_some();
    (!exempt).then_some(Judged { matched, hard: wanted.hard, strict })
}

/// The amount that is needed: the key's own, or a part of it.
fn need(scenario: &Scenario, key: &str, metric: Metric, share: Option<i64>, per: Option<&str>) -> Option<Range> {
    let given = scenario.range(key)?;
    let unit = metric.unit();
    let divisor = match per {
        Some(per) => scenario.range(per)?.low.max(1),
        None => share.unwrap_or(1),
    };
    if share.is_none() && per.is_none() {
        return Some(Range { unit, ..given });
    }
    // A part of what a node has is a budget: anything up to it will do.
    Some(Range { low: 0, high: given.high.map(|it| it / divisor), open: false, unit })
}

/// Whether a metric states what is supported rather than what is taken.
fn covers(metric: Metric) -> bool {
    matches!(metric, Metric::Nodes | Metric::CentreNodes | Metric::Services)
}

fn number(scenario: &Scenario, option: &Technology, wanted: &Wanted, metric: Metric, need: Range) -> Matched {
    let stated = option.stated(metric);
    // A capacity reaches every smaller amount too: 3,000 pods a node satisfy whoever asks for at least 500.
    // What must be so has to be stated; what need not be stays open.
    let unstated = if wanted.hard { Match::Mismatch } else { Match::Partial };
    let verdict = stated.map_or(unstated, |it| m(it.range, need, covers(metric)));
    let shown = stated.map_or_else(String::new, |it| it.range.to_string());
    let reason = match (stated, verdict) {
        (None, _) => Reason::NothingStated { name: option.name.clone(), metric },
        (_, Match::Match) => Reason::Within { metric, stated: shown.clone(), need: need.to_string() },
        (_, Match::Partial) => Reason::Overlaps { metric, stated: shown.clone(), need: need.to_string() },
        (_, Match::Mismatch) => Reason::Outside { metric, stated: shown.clone(), need: need.to_string() },
    };
    Matched {
        key: wanted.key.clone(),
        at: scenario.position(&wanted.key),
        layer: option.layer,
        technology: option.id.clone(),
        metric: Some(metric),
        feature: None,
        need: need.to_string(),
        stated: shown,
        source: stated.map_or_else(String::new, |it| it.source.clone()),
        measured: stated.is_some_and(|it| it.measured.is_some()),
        verdict,
        reason,
    }
}

fn property(
    scenario: &Scenario,
    option: &Technology,
    wanted: &Wanted,
    feature: Feature,
    least: Level,
    full: Level,
) -> Matched {
    let level = option.level(feature);
    let verdict = m_level(level, least, full);
    let reason = match level {
        Level::Full => Reason::Has { feature },
        Level::Partial => Reason::PartlyHas { feature, enough: verdict == Match::Match },
        Level::None => Reason::Lacks { feature },
    };
    Matched {
        key: wanted.key.clone(),
        at: scenario.position(&wanted.key),
        layer: option.layer,
        technology: option.id.clone(),
        metric: None,
        feature: Some(feature),
        need: full.to_string(),
        stated: level.to_string(),
        source: option.sources.join(", "),
        measured: false,
        verdict,
        reason,
    }
}

/// Stars for a number on a logarithmic scale from one star at `worst` to five at `best`, in thousandths.
pub(super) fn stars(range: Range, worst: i64, best: i64) -> i64 {
    let smaller_is_better = best < worst;
    let amount = match (smaller_is_better, range.high) {
        // What takes the most counts, and what reaches the furthest.
        (true, Some(high)) => high,
        (true, None) => return 1000,
        (false, Some(high)) => high,
        (false, None) => return 5000,
    };
    let (from, to) = ((worst.max(1) as f64).ln(), (best.max(1) as f64).ln());
    let share = (((amount.max(1) as f64).ln() - from) / (to - from)).clamp(0.0, 1.0);
    1000 + (share * 4000.0).round() as i64
}
