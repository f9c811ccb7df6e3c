//! `--render DIR`: writes what was rendered.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, bail};
use eyot_advise::{
    Catalog, Decision, Lang, Scenario,
    render::{Rendering, Target, render},
};

use super::{AdviseFlags, words::say};

/// Writes every file, and tells on stderr what was written and what is not honoured.
pub(super) fn write(
    dir: &Path,
    scenario: &Scenario,
    decision: &Decision,
    catalog: &Catalog,
    flags: &AdviseFlags,
    lang: Lang,
) -> Result<()> {
    let rendering = render(scenario, decision, catalog, lang);
    if !flags.force {
        let there: Vec<_> = rendering.files.iter().map(|it| dir.join(&it.path)).filter(|it| it.exists()).collect();
        if let Some(first) = there.first() {
            let first = first.display();
            match lang {
                Lang::En => bail!("--render: {first} is there already; --force replaces what is rendered"),
                Lang::Zh => bail!("--render：{first} 已存在；--force 可覆盖"),
            }
        }
    }
    for file in &rendering.files {
        let path = dir.join(&file.path);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        fs::write(&path, &file.contents).with_context(|| format!("writing {}", path.display()))?;
    }
    let _ = tell(&rendering, dir, lang);
    Ok(())
}

fn tell(rendering: &Rendering, dir: &Path, lang: Lang) -> std::io::Result<()> {
    let mut out = std::io::stderr().lock();
    let shown = dir.display();
    let count = rendering.files.len();
    match lang {
        Lang::En => writeln!(out, "\n{count} files written to {shown}:")?,
        Lang::Zh => writeln!(out, "\n已向 {shown} 写入 {count} 个文件：")?,
    }
    for file in &rendering.files {
        writeln!(out, "  {}", file.path)?;
    }
    if rendering.target != Target::Cluster {
        writeln!(out, "{} eyot up --data-dir ~/.eyot --manifests {shown}", say(lang, "run it:   ", "运行："))?;
        writeln!(out, "{} eyot verify {shown}", say(lang, "prove it: ", "验证："))?;
    }
    if rendering.target != Target::Eyot {
        let folder = if rendering.target == Target::Both { dir.join("cluster") } else { dir.to_owned() };
        writeln!(out, "{} kubectl apply -f {}", say(lang, "cluster:  ", "集群："), folder.display())?;
    }
    for note in &rendering.notes {
        writeln!(out, "! {}: {}", note.about, note.says.get(lang))?;
    }
    Ok(())
}
