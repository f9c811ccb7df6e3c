//! `eyot advise migrate`: the way from one stack to another, and what stands in it.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use eyot_advise::{
    Lang,
    migrate::{Combination, Finding, Item, Migration, Weight, inventory, migrate},
};

use super::{
    Format, files,
    flags::MigrateFlags,
    print, print_json, print_report,
    report::{Report, Section},
    words::say,
};

pub(super) fn run(flags: &MigrateFlags, catalog: Option<&Path>, lang: Lang) -> Result<ExitCode> {
    let book = &*files::book(catalog, lang)?;
    let parse = |flag: &str, text: &str| {
        Combination::parse(text, book).map_err(|it| anyhow!("{flag}: {}", it.text().get(lang)))
    };
    let (from, to) = (parse("--from", &flags.from)?, parse("--to", &flags.to)?);
    let mut items = Vec::new();
    for path in &flags.inventory {
        read(path, &mut items, lang)?;
    }
    let plan = migrate(&from, &to, &items, book);
    match flags.format {
        Format::Json => print_json(&plan)?,
        Format::Mermaid => print(&diagram(&plan, lang)),
        Format::Table | Format::Markdown => print_report(&report(&plan, lang), flags.format)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path, items: &mut Vec<Item>, lang: Lang) -> Result<()> {
    if path.is_dir() {
        let files = files::yaml_files(path)?;
        if files.is_empty() {
            bail!("{}: {}", path.display(), say(lang, "no YAML or JSON files there", "其中没有 YAML 或 JSON 文件"));
        }
        return files.iter().try_for_each(|it| read(it, items, lang));
    }
    let (name, text) = files::text(path).context(say(lang, "the inventory", "清单"))?;
    items.extend(inventory(&name, &text).map_err(|it| anyhow!("{}", it.text().get(lang)))?);
    Ok(())
}

fn report(plan: &Migration, lang: Lang) -> Report {
    let mut report = Report::new(format!("{} → {}", plan.from.short(), plan.to.short()));
    let assumed = plan.assumptions.iter().map(|it| it.get(lang).to_owned()).collect();
    report.add(Section::new(say(lang, "Taken for granted", "默认假设")).list(assumed));
    report.add(compatibility(plan, lang));
    if plan.stages.is_empty() {
        let text = say(lang, "both are the same stack: there is nothing to do", "两者是同一技术栈：无需迁移");
        report.add(Section::new(say(lang, "Stages", "阶段")).text(text));
    }
    for (at, stage) in plan.stages.iter().enumerate() {
        let reaches = stage.reaches.as_ref().map_or_else(String::new, |it| format!(" [{it}]"));
        let title = format!("{} {}: {}{reaches}", say(lang, "Stage", "阶段"), at + 1, stage.title.get(lang));
        let rows = stage.steps.iter().enumerate().map(|(at, step)| {
            let what = format!("{}\n{}", step.title.get(lang), step.act.get(lang));
            vec![(at + 1).to_string(), what, step.undo.get(lang).to_owned()]
        });
        let header = [say(lang, "step", "步骤"), say(lang, "what to do", "操作"), say(lang, "the way back", "回退")];
        let after = format!(
            "{} {}; {} {}",
            say(lang, "afterwards:", "完成后："),
            stage.stack,
            say(lang, "source:", "出处："),
            stage.source
        );
        report.add(Section::new(title).rows(&header, rows.collect()).text(after));
    }
    report.add(findings(plan, lang));
    report
}

fn compatibility(plan: &Migration, lang: Lang) -> Section {
    let section = Section::new(say(lang, "Compatibility of the target (§05.7.3)", "目标的兼容性（§05.7.3）"));
    let Some(row) = &plan.compatibility else { return section };
    let header = match lang {
        Lang::En => ["Kubernetes API", "container images", "network", "storage"],
        Lang::Zh => ["Kubernetes API 兼容性", "Docker 镜像兼容性", "网络兼容性", "存储兼容性"],
    };
    let cells = [&row.api, &row.images, &row.network, &row.storage].map(|it| match (it.as_str(), lang) {
        ("full", Lang::En) => "100 %".to_owned(),
        ("full", Lang::Zh) => "✅ 100%".to_owned(),
        ("convert", Lang::En) => "must be converted".to_owned(),
        ("convert", Lang::Zh) => "⚠️ 需转换".to_owned(),
        ("sqlite is not etcd", Lang::Zh) => "⚠️ sqlite 不兼容 etcd".to_owned(),
        (other, _) => other.to_owned(),
    });
    section.rows(&header, vec![cells.to_vec()])
}

fn findings(plan: &Migration, lang: Lang) -> Section {
    let section = Section::new(say(lang, "Your objects", "您的对象"));
    if plan.objects == 0 {
        return section.text(say(
            lang,
            "no manifests were given: name files or folders to have them judged",
            "未给出清单：给出文件或目录即可逐一评估",
        ));
    }
    let count = |weight: Weight| plan.findings.iter().filter(|it| it.weight == weight).count();
    let (blocks, change, look) = (count(Weight::Blocks), count(Weight::Change), count(Weight::Look));
    let sum = match lang {
        Lang::En => format!(
            "{} of {} objects move as they are; {blocks} findings block, {change} need a change, {look} need a look",
            plan.clean, plan.objects
        ),
        Lang::Zh => format!(
            "{} 个对象中有 {} 个可原样迁移；阻断 {blocks} 项，需修改 {change} 项，需查看 {look} 项",
            plan.objects, plan.clean
        ),
    };
    let header = [
        say(lang, "weight", "程度"),
        say(lang, "object", "对象"),
        say(lang, "finding", "结果"),
        say(lang, "what to do", "处理"),
    ];
    section.text(sum).rows(&header, plan.findings.iter().map(|it| row(it, lang)).collect())
}

fn row(finding: &Finding, lang: Lang) -> Vec<String> {
    let weight = match (finding.weight, lang) {
        (Weight::Blocks, Lang::En) => "blocks",
        (Weight::Blocks, Lang::Zh) => "阻断",
        (Weight::Change, Lang::En) => "change",
        (Weight::Change, Lang::Zh) => "修改",
        (Weight::Look, Lang::En) => "look",
        (Weight::Look, Lang::Zh) => "查看",
    };
    let place = format!("{}\n{}:{}", finding.object, finding.file, finding.line);
    let says = if finding.path.is_empty() {
        finding.says.get(lang).to_owned()
    } else {
        format!("{}\n{}", finding.says.get(lang), finding.path)
    };
    vec![weight.to_owned(), place, says, finding.fix.get(lang).to_owned()]
}

fn diagram(plan: &Migration, lang: Lang) -> String {
    let mut chart = format!("graph LR\n    s0[\"{}\"]\n", plan.from.short());
    for (at, stage) in plan.stages.iter().enumerate() {
        let steps = match lang {
            Lang::En => format!("{} steps", stage.steps.len()),
            Lang::Zh => format!("{} 步", stage.steps.len()),
        };
        chart += &format!("    s{at} -->|\"{}, {steps}\"| s{}[\"{}\"]\n", stage.title.get(lang), at + 1, stage.stack);
    }
    chart + &format!("    style s{} fill:#e6ffe6\n", plan.stages.len())
}
