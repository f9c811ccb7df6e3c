//! Objects in containers, on real files.

use std::sync::Arc;

use eyot_bucket::{Bounds, BucketError, Buckets, PIECE_BYTES, Tenant, Upload};

fn tenant(dir: &tempfile::TempDir, bytes: u64) -> Arc<Tenant> {
    let bounds = Bounds { tenant_bytes: bytes, page_keys: 2, ..Bounds::default() };
    Buckets::open(dir.path(), bounds).tenant("one").unwrap()
}

async fn write(tenant: &Arc<Tenant>, container: &str, name: &str, content: &[u8]) -> Result<(), BucketError> {
    let mut upload: Upload = tenant.upload().await?;
    for piece in content.chunks(PIECE_BYTES) {
        upload.append(piece.to_vec()).await?;
    }
    upload.finish(container, name.into()).await
}

async fn read(tenant: &Arc<Tenant>, container: &str, name: &str, from: u64) -> Option<Vec<u8>> {
    let content = tenant.open(container, name.into()).await.unwrap()?;
    let mut out = Vec::new();
    loop {
        let piece = content.read(from + out.len() as u64).await.unwrap();
        if piece.is_empty() {
            return Some(out);
        }
        out.extend(piece);
    }
}

#[tokio::test]
async fn what_is_written_in_pieces_is_read_from_anywhere_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..PIECE_BYTES * 2 + 77).map(|it| (it % 251) as u8).collect();
    {
        let tenant = tenant(&dir, 64 << 20);
        tenant.create_container("c").await.unwrap();
        write(&tenant, "c", "big", &big).await.unwrap();
        write(&tenant, "c", "none", b"").await.unwrap();
    }
    let tenant = tenant(&dir, 64 << 20);
    assert_eq!(read(&tenant, "c", "big", 0).await.unwrap(), big);
    let from = PIECE_BYTES as u64 + 5;
    assert_eq!(read(&tenant, "c", "big", from).await.unwrap(), big[PIECE_BYTES + 5..]);
    assert_eq!(read(&tenant, "c", "none", 0).await.unwrap(), b"");
    assert_eq!(read(&tenant, "c", "gone", 0).await, None);
    let info = tenant.object("c", "big".into()).await.unwrap().unwrap();
    assert_eq!((info.size, info.container.as_str()), (big.len() as u64, "c"));
    assert!(info.created_seconds > 1_600_000_000);
}

#[tokio::test]
async fn copies_share_content_moves_take_it_along_and_deleting_leaves_readers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = tenant(&dir, 64 << 20);
    tenant.create_container("a").await.unwrap();
    tenant.create_container("b").await.unwrap();
    write(&tenant, "a", "x", b"first").await.unwrap();
    tenant.copy_object(("a", "x".into()), ("b", "y".into()), false).await.unwrap();
    write(&tenant, "a", "x", b"second").await.unwrap();
    assert_eq!(read(&tenant, "b", "y", 0).await.unwrap(), b"first");
    tenant.copy_object(("a", "x".into()), ("a", "z".into()), true).await.unwrap();
    assert_eq!(read(&tenant, "a", "x", 0).await, None);
    let held = tenant.open("a", "z".into()).await.unwrap().unwrap();
    tenant.clear_container("a", true).await.unwrap();
    assert_eq!(held.read(0).await.unwrap(), b"second");
    assert!(matches!(write(&tenant, "a", "x", b"").await, Err(BucketError::NoContainer(_))));
    let missing = tenant.copy_object(("b", "q".into()), ("b", "r".into()), false).await;
    assert!(matches!(missing, Err(BucketError::NoObject(_))));
    assert!(matches!(tenant.create_container("b").await, Err(BucketError::ContainerExists(_))));
}

#[tokio::test]
async fn room_comes_back_from_what_was_deleted_or_never_named() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = tenant(&dir, 4 << 20);
    tenant.create_container("c").await.unwrap();
    let three = vec![7; 3 << 20];
    for _ in 0..4 {
        write(&tenant, "c", "x", &three).await.unwrap();
        let full = write(&tenant, "c", "y", &three).await;
        assert!(matches!(full, Err(BucketError::Full { .. })), "{full:?}");
        tenant.delete_objects("c", vec!["x".into(), "never".into()]).await.unwrap();
    }
    assert_eq!(tenant.objects("c", String::new(), 10).await.unwrap(), (vec![], false));
}

#[tokio::test]
async fn names_are_told_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = tenant(&dir, 4 << 20);
    tenant.create_container("c").await.unwrap();
    for name in ["c", "a", "b"] {
        write(&tenant, "c", name, b"x").await.unwrap();
    }
    let page = |after: &str, max| tenant.objects("c", after.to_owned(), max);
    let names = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(page("", 9).await.unwrap(), (names(&["a", "b"]), true));
    assert_eq!(page("b", 1).await.unwrap(), (names(&["c"]), false));
    assert!(matches!(tenant.objects("d", String::new(), 1).await, Err(BucketError::NoContainer(_))));
}
