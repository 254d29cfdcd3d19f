//! Cloning of dependency folders.

use super::*;
use pretty_assertions::assert_eq;

const PLENTY: CloneBudget = CloneBudget { max_bytes: 1 << 20, max_files: 1000 };

#[test]
fn ignored_dependency_folders_are_cloned_with_times_modes_and_links() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "node_modules\n/vendor/x/\n*.env\nscratch/\n.venv/\n");
    fixture.write("packages/app/package.json", "{}");
    fixture.write("vendor/tracked", "t");
    fixture.commit_all();
    fixture.write("node_modules/a/index.js", "a");
    fixture.write("node_modules/a/tool", "t");
    fixture.chmod("node_modules/a/tool", 0o555);
    std::fs::create_dir_all(fixture.root.join("node_modules/.bin")).unwrap();
    symlink("../a/tool", fixture.root.join("node_modules/.bin/tool")).unwrap();
    symlink("../packages/app", fixture.root.join("node_modules/app")).unwrap();
    symlink("../../elsewhere", fixture.root.join("node_modules/far")).unwrap();
    fixture.write("packages/app/node_modules/b", "b");
    fixture.write("vendor/x/lib.go", "x");
    fixture.write("scratch/big", "not a dependency");
    fixture.write("prod.env", "secret");
    fixture.chmod("node_modules/a", 0o555);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_500_000_000, 123_000_000);
    let set = |path: &str| std::fs::File::open(fixture.root.join(path)).unwrap().set_modified(old).unwrap();
    for path in ["node_modules/a/index.js", "node_modules/a", "node_modules"] {
        set(path);
    }
    let repository = fixture.repository();
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, "HEAD", cache.path(), "r").unwrap();
    let report = clone_dependencies(&repository, worktree.path(), PLENTY).unwrap();
    assert_eq!(report.cloned, ["node_modules", "packages/app/node_modules", "vendor/x"]);
    assert_eq!((report.bytes, report.files), (4, 12));
    assert_eq!((report.too_costly, report.tied_to_original), (None, None));
    let at = |path: &str| worktree.path().join(path);
    assert_eq!(std::fs::read_link(at("node_modules/.bin/tool")).unwrap(), Path::new("../a/tool"));
    assert_eq!(std::fs::read_link(at("node_modules/app")).unwrap(), Path::new("../packages/app"));
    let far = fixture.root.parent().unwrap().join("elsewhere");
    assert_eq!(std::fs::read_link(at("node_modules/far")).unwrap(), far);
    for path in ["node_modules/a/index.js", "node_modules/a", "node_modules"] {
        assert_eq!(at(path).metadata().unwrap().modified().unwrap(), old, "{path}");
    }
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&at("node_modules/a/tool").metadata().unwrap()) & 0o777, 0o555);
    assert!(!at("scratch").exists() && !at("prod.env").exists());
    assert_eq!(worktree.workspace().snapshot().unwrap(), repository.head().tree);
    let again = clone_dependencies(&repository, worktree.path(), PLENTY).unwrap();
    assert_eq!((again.cloned.len(), again.method), (0, CloneMethod::None));
    worktree.remove().unwrap();
}

#[test]
fn cloning_that_costs_too_much_copies_nothing() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "target/\n");
    fixture.commit_all();
    for number in 0..20 {
        fixture.write(&format!("target/{number}"), "x");
    }
    let repository = fixture.repository();
    let to = tempfile::tempdir().unwrap();
    let few = CloneBudget { max_bytes: 1000, max_files: 10 };
    let report = clone_dependencies(&repository, to.path(), few).unwrap();
    assert_eq!(report.too_costly.as_deref(), Some("target: more than 10 files"));
    assert_eq!((report.cloned.len(), std::fs::read_dir(to.path()).unwrap().count()), (0, 0));
}

#[test]
fn dependencies_that_lead_back_to_the_original_are_named() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", ".venv/\nnode_modules\n");
    fixture.write("src/app.py", "x");
    fixture.commit_all();
    let repository = fixture.repository();
    let root = fixture.root.to_str().unwrap();
    let clone = || {
        let to = tempfile::tempdir().unwrap();
        clone_dependencies(&repository, to.path(), PLENTY).unwrap().tied_to_original
    };
    let site = ".venv/lib/python3.12/site-packages";
    fixture.write(".venv/pyvenv.cfg", format!("command = python -m venv {root}/.venv\n"));
    fixture.write(&format!("{site}/other.pth"), format!("{root}-other/src\n"));
    let url = format!("file://{}", root.replace(' ', "%20"));
    let direct = format!("{site}/app-1.dist-info/direct_url.json");
    fixture.write(&direct, format!("{{\"url\":\"{url}\",\"dir_info\":{{}}}}"));
    assert_eq!(clone(), None);
    let names = |path: &str| Some(format!("{path} names the original folder"));
    fixture.write(&direct, format!("{{\"url\":\"{url}\",\"dir_info\":{{\"editable\":true}}}}"));
    assert_eq!(clone(), names(&direct));
    std::fs::remove_file(fixture.root.join(&direct)).unwrap();
    for name in ["app.pth", "app.egg-link", "__editable___app_finder.py"] {
        let path = format!("{site}/{name}");
        fixture.write(&path, format!("{root}/src\n"));
        assert_eq!(clone(), names(&path));
        std::fs::remove_file(fixture.root.join(&path)).unwrap();
    }
    std::fs::create_dir(fixture.root.join("node_modules")).unwrap();
    symlink(fixture.root.join("src"), fixture.root.join("node_modules/app")).unwrap();
    assert_eq!(clone().as_deref(), Some("node_modules/app links to the original folder"));
}
