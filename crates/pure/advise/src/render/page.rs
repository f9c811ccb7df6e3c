//! `README.md` of a rendered folder, in the user's language. Entry point: [`page`].

use super::{ACTS, Brief, File, Note, Target};
use crate::{Lang, Named};

pub(super) fn page(brief: &Brief, files: &[File], notes: &[Note], lang: Lang) -> String {
    let say = |en: &'static str, zh: &'static str| match lang {
        Lang::En => en,
        Lang::Zh => zh,
    };
    let mut page =
        format!("# {}\n\n{}\n\n", brief.title, say("What was chosen, and how to run it.", "所选技术栈及其运行方式。"));
    page += &format!("| {} | {} |\n|---|---|\n", say("layer", "层"), say("chosen", "选择"));
    for layer in brief.stack.keys() {
        page += &format!("| {} | {} |\n", layer.name(lang), brief.named(*layer, lang));
    }
    page += &format!("\n## {}\n\n", say("Run it", "运行"));
    if brief.target != Target::Cluster {
        page += &on_eyot(brief, lang);
    }
    if brief.target == Target::Both {
        let text = say(
            "The folder `cluster/` is for a cluster of Kubernetes; `eyot up` passes over it.",
            "`cluster/` 目录用于 Kubernetes 集群；`eyot up` 会跳过它。",
        );
        page += &format!("\n{text}\n\n");
    }
    if brief.target != Target::Eyot {
        page += &on_cluster(brief, files, lang);
    }
    if brief.target != Target::Cluster {
        page += &format!(
            "\n## {}\n\n| {} | {} | {} |\n|---|---|---|\n",
            say("What is promised", "承诺"),
            say("what", "项目"),
            say("promised", "承诺值"),
            say("who says so", "出处")
        );
        for promise in &brief.promises {
            let what = promise.promised().map_or(promise.what.as_str(), |it| it.name(lang));
            page += &format!("| {what} | {} | {} |\n", promise.shown(), promise.source);
        }
        let text = say("`eyot verify .` measures each of them on this machine.", "`eyot verify .` 在本机逐项测量。");
        page += &format!("\n{text}\n");
    }
    if !notes.is_empty() {
        page += &format!("\n## {}\n\n", say("What is not honoured", "未满足的部分"));
        let text = say("Objects that are only stored carry the annotation", "仅被存储的对象带有注解");
        page += &format!("{text} `{ACTS}`.\n\n");
        for note in notes {
            page += &format!("- **{}**: {}\n", note.about, note.says.get(lang));
        }
    }
    page
}

fn on_eyot(brief: &Brief, lang: Lang) -> String {
    let name = &brief.name;
    let (push, own, service) = match lang {
        Lang::En => (
            "Pods wait until their image is there; push it from another terminal. `app.wasm` is a sample that answers every request:",
            "Push your own component under the same name (docs/guests.md tells how to build one), or a new tag and change `10-app.yaml`: the folder is applied again when it changes.",
            "For a machine that starts by itself: `eyot.env` and `eyot.service` are for systemd.",
        ),
        Lang::Zh => (
            "Pod 会等待镜像；在另一个终端推送。`app.wasm` 是应答所有请求的样例：",
            "用同一名称推送自己的组件（构建方法见 docs/guests.md），或使用新标签并修改 `10-app.yaml`：目录变化后会自动重新应用。",
            "开机自启：`eyot.env` 与 `eyot.service` 用于 systemd。",
        ),
    };
    format!(
        "```\neyot up --data-dir ~/.eyot --manifests .\n```\n\n{push}\n\n```\neyot push app.wasm localhost:5000/{name}:v1\n\
         curl -H 'Host: {name}.localhost' http://127.0.0.1:8080/\n```\n\n{own}\n\n{service}\n"
    )
}

fn on_cluster(brief: &Brief, files: &[File], lang: Lang) -> String {
    let dir = if brief.target == Target::Both { "cluster/" } else { "./" };
    let values: Vec<&str> = files.iter().filter(|it| it.path.contains("values/")).map(|it| it.path.as_str()).collect();
    let (first, then) = match lang {
        Lang::En => (
            "First what the cluster needs; the first line of each file is its command:",
            "Then the objects, with your own image in `10-app.yaml`:",
        ),
        Lang::Zh => ("先安装集群组件；各文件首行即安装命令：", "然后应用对象，并在 `10-app.yaml` 中换成自己的镜像："),
    };
    let mut text = String::new();
    if !values.is_empty() {
        text += &format!("{first}\n\n");
        text += &values.iter().map(|it| format!("- `{it}`\n")).collect::<String>();
        text += "\n";
    }
    text + &format!("{then}\n\n```\nkubectl apply -f {dir}\n```\n")
}
