//! Thumbnails: sizes, formats, orientation, animation, cache, and hostile files.

use std::{fs, sync::Arc};

use image::{AnimationDecoder, DynamicImage, GenericImageView, ImageFormat};
use lyceum_media_store::{
    MediaStore, Method, Requested, Thumbnail, ThumbnailAnswer, ThumbnailError, ThumbnailLimits,
};
use proptest::{
    prelude::{ProptestConfig, any, prop_assert, proptest},
    sample::Index,
};
use tempfile::TempDir;

use crate::pictures::{
    boastful_png, boastful_webp, encode, moving_gif, opaque, transparent, turned_jpeg,
};

struct Fixture {
    store: MediaStore,
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limits(ThumbnailLimits::default())
    }

    fn with_limits(limits: ThumbnailLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: MediaStore::open(directory.path(), limits).unwrap(),
            directory,
        }
    }

    async fn put(&self, bytes: &[u8]) -> [u8; 32] {
        let mut upload = self.store.begin_upload(u64::MAX);
        upload.write(bytes).await.unwrap();
        upload.finish().await.unwrap().sha256
    }

    async fn ask(
        &self,
        bytes: &[u8],
        requested: Requested,
    ) -> Result<ThumbnailAnswer, ThumbnailError> {
        let sha256 = self.put(bytes).await;
        self.store.thumbnail(&sha256, requested).await
    }

    async fn made(&self, bytes: &[u8], requested: Requested) -> Thumbnail {
        match self.ask(bytes, requested).await.unwrap() {
            ThumbnailAnswer::Made(thumbnail) => thumbnail,
            ThumbnailAnswer::Original => panic!("the original"),
        }
    }

    fn cached(&self) -> usize {
        let directories = fs::read_dir(self.directory.path().join("thumbnails")).unwrap();
        directories
            .map(|entry| fs::read_dir(entry.unwrap().path()).unwrap().count())
            .sum()
    }
}

fn crop(side: u32) -> Requested {
    Requested {
        width: side,
        height: side,
        method: Method::Crop,
        animated: false,
    }
}

fn scale(width: u32, height: u32) -> Requested {
    Requested {
        width,
        height,
        method: Method::Scale,
        animated: false,
    }
}

fn moving(requested: Requested) -> Requested {
    Requested {
        animated: true,
        ..requested
    }
}

fn decode(thumbnail: &Thumbnail) -> DynamicImage {
    let image = image::load_from_memory(&thumbnail.bytes).unwrap();
    assert_eq!(image.dimensions(), (thumbnail.width, thumbnail.height));
    image
}

/// The nearest of the colours of the four quarters.
fn colour(image: &DynamicImage, x: f32, y: f32) -> char {
    let (width, height) = image.dimensions();
    let pixel = image
        .get_pixel((x * width as f32) as u32, (y * height as f32) as u32)
        .0;
    match pixel.map(|part| part > 127) {
        [true, false, false, _] => 'r',
        [false, true, false, _] => 'g',
        [false, false, true, _] => 'b',
        [true, true, true, _] => 'w',
        _ => '?',
    }
}

fn corners(image: &DynamicImage) -> String {
    [(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]
        .into_iter()
        .map(|(x, y)| colour(image, x, y))
        .collect()
}

#[tokio::test]
async fn formats_and_sizes() {
    let fixture = Fixture::new();
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        let bytes = opaque(1000, 500, format);
        let small = fixture.made(&bytes, scale(320, 240)).await;
        assert_eq!(
            (small.width, small.height, small.content_type),
            (320, 160, "image/jpeg")
        );
        assert_eq!(corners(&decode(&small)), "rgbw", "{format:?}");
        let square = fixture.made(&bytes, crop(96)).await;
        assert_eq!((square.width, square.height), (96, 96));
        assert_eq!(corners(&decode(&square)), "rgbw", "{format:?}");
        let wide = Requested {
            height: 50,
            ..crop(150)
        };
        let strip = fixture.made(&bytes, wide).await;
        assert_eq!((strip.width, strip.height), (256, 85));
        assert_eq!(corners(&decode(&strip)), "rgbw", "{format:?}");
    }
    let small = fixture.made(&transparent(400, 400), scale(1, 1)).await;
    assert_eq!(
        (small.width, small.height, small.content_type),
        (240, 240, "image/png")
    );
    assert!(decode(&small).color().has_alpha());
}

#[tokio::test]
async fn small_images_stay_as_they_are() {
    let fixture = Fixture::new();
    let original = Ok(ThumbnailAnswer::Original);
    assert_eq!(
        fixture
            .ask(&opaque(320, 240, ImageFormat::Png), scale(300, 200))
            .await,
        original
    );
    assert_eq!(
        fixture
            .ask(&opaque(30, 20, ImageFormat::Jpeg), crop(32))
            .await,
        original
    );
    assert_eq!(
        fixture.ask(&moving_gif(20, 20, 3), moving(crop(32))).await,
        original
    );
    // One that moves is made to stand still.
    let still = fixture.made(&moving_gif(20, 20, 3), crop(32)).await;
    assert_eq!(
        (still.width, still.height, still.content_type),
        (20, 20, "image/jpeg")
    );
    // Narrow ones are cut, not stretched.
    let strip = fixture
        .made(&opaque(400, 50, ImageFormat::Png), crop(96))
        .await;
    assert_eq!((strip.width, strip.height), (50, 50));
}

#[tokio::test]
async fn orientation_is_honoured() {
    let fixture = Fixture::new();
    for (orientation, expect, upright) in [
        (1, "rgbw", false),
        (2, "grwb", false),
        (3, "wbgr", false),
        (4, "bwrg", false),
        (5, "rbgw", true),
        (6, "brwg", true),
        (7, "wgbr", true),
        (8, "gwrb", true),
    ] {
        let small = fixture
            .made(&turned_jpeg(400, 200, orientation), scale(320, 240))
            .await;
        let expected_size = if upright { (120, 240) } else { (320, 160) };
        assert_eq!((small.width, small.height), expected_size, "{orientation}");
        assert_eq!(corners(&decode(&small)), expect, "{orientation}");
    }
}

#[tokio::test]
async fn animations_move_when_wanted() {
    let fixture = Fixture::new();
    let bytes = moving_gif(500, 300, 5);
    let small = fixture.made(&bytes, moving(scale(320, 240))).await;
    assert_eq!(
        (small.width, small.height, small.content_type),
        (320, 192, "image/gif")
    );
    let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(&small.bytes)).unwrap();
    let frames = decoder.into_frames().collect_frames().unwrap();
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[0].delay().numer_denom_ms(), (100, 1));
    let still = fixture.made(&bytes, scale(320, 240)).await;
    assert_eq!(still.content_type, "image/jpeg");
    // What does not move, or too long, stands still.
    let still = fixture
        .made(&moving_gif(500, 300, 1), moving(scale(320, 240)))
        .await;
    assert_eq!(still.content_type, "image/jpeg");
    let limits = ThumbnailLimits {
        animation_pixels_max: 500 * 300 * 4,
        ..Default::default()
    };
    let still = Fixture::with_limits(limits)
        .made(&bytes, moving(scale(320, 240)))
        .await;
    assert_eq!(still.content_type, "image/jpeg");
}

#[tokio::test]
async fn the_cache_is_used_and_goes_with_the_blob() {
    let fixture = Fixture::new();
    let bytes = opaque(1000, 500, ImageFormat::Png);
    let first = fixture.made(&bytes, scale(300, 200)).await;
    let again = fixture.made(&bytes, scale(310, 210)).await;
    assert_eq!(first, again);
    fixture.made(&bytes, crop(40)).await;
    assert_eq!(fixture.cached(), 2);

    let sha256 = fixture.put(&bytes).await;
    let reopened = MediaStore::open(fixture.directory.path(), ThumbnailLimits::default()).unwrap();
    let cached = reopened.thumbnail(&sha256, scale(320, 240)).await.unwrap();
    assert_eq!(cached, ThumbnailAnswer::Made(first));

    fixture.store.remove(&sha256).await.unwrap();
    assert_eq!(fixture.cached(), 0);
    let gone = fixture.store.thumbnail(&sha256, scale(320, 240)).await;
    assert_eq!(gone, Err(ThumbnailError::NotFound));
}

#[tokio::test]
async fn a_damaged_cache_is_made_anew() {
    let fixture = Fixture::new();
    let bytes = opaque(1000, 500, ImageFormat::Png);
    let first = fixture.made(&bytes, crop(96)).await;
    for damage in [&b""[..], b"1234", b"12345678", b"12345678nothing"] {
        let thumbnails = fixture.directory.path().join("thumbnails");
        let directory = fs::read_dir(thumbnails).unwrap().next().unwrap().unwrap();
        let file = fs::read_dir(directory.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        fs::write(file.path(), damage).unwrap();
        assert_eq!(fixture.made(&bytes, crop(96)).await, first);
    }
}

#[tokio::test]
async fn requests_for_the_same_share_the_work() {
    let fixture = Arc::new(Fixture::new());
    let sha256 = fixture.put(&opaque(1500, 1500, ImageFormat::Png)).await;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let fixture = Arc::clone(&fixture);
        set.spawn(async move { fixture.store.thumbnail(&sha256, crop(96)).await });
    }
    let answers = set.join_all().await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.is_ok() && answer == &answers[0])
    );
    assert_eq!(fixture.cached(), 1);
}

#[tokio::test]
async fn large_images_take_turns() {
    let fixture = Arc::new(Fixture::new());
    let image = image::GrayImage::from_pixel(2900, 2900, image::Luma([90]));
    let bytes = encode(&DynamicImage::ImageLuma8(image), ImageFormat::Png);
    let sha256 = fixture.put(&bytes).await;
    let mut set = tokio::task::JoinSet::new();
    for requested in [crop(32), crop(96)] {
        let fixture = Arc::clone(&fixture);
        set.spawn(async move { fixture.store.thumbnail(&sha256, requested).await.is_ok() });
    }
    assert_eq!(set.join_all().await, [true; 2]);
}

#[tokio::test]
async fn hostile_files() {
    let fixture = Fixture::new();
    let not_an_image = Err(ThumbnailError::NotAnImage);
    for bytes in [
        &b""[..],
        b"hello",
        b"<svg/>",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
    ] {
        assert_eq!(
            fixture.ask(bytes, crop(32)).await,
            not_an_image,
            "{bytes:?}"
        );
    }
    assert_eq!(fixture.ask(&boastful_webp(), crop(32)).await, not_an_image);
    assert_eq!(
        fixture.ask(&boastful_png(60_000, 60_000), crop(32)).await,
        Err(ThumbnailError::TooLarge)
    );
    assert!(
        fixture
            .ask(&boastful_png(5_000, 5_000), crop(32))
            .await
            .is_err()
    );
    assert_eq!(
        fixture
            .ask(&opaque(40, 40, ImageFormat::Png), scale(0, 32))
            .await,
        Err(ThumbnailError::InvalidSize)
    );
    let limits = ThumbnailLimits {
        source_bytes_max: 100,
        ..Default::default()
    };
    let small = Fixture::with_limits(limits);
    let answer = small
        .ask(&opaque(1000, 1000, ImageFormat::Png), crop(32))
        .await;
    assert_eq!(answer, Err(ThumbnailError::TooLarge));
    let limits = ThumbnailLimits {
        pixels_max: 999,
        ..Default::default()
    };
    let answer = Fixture::with_limits(limits)
        .ask(&opaque(40, 25, ImageFormat::Png), crop(32))
        .await;
    assert_eq!(answer, Err(ThumbnailError::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    /// Any damage to an image yields a thumbnail or an error, and the workers go on.
    #[test]
    fn any_bytes_end_well(
        which in 0..6_usize,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..12),
        keep in any::<Index>(),
        truncate in any::<bool>(),
        animated in any::<bool>(),
    ) {
        let mut bytes = match which {
            0 => opaque(60, 40, ImageFormat::Png),
            1 => opaque(60, 40, ImageFormat::Jpeg),
            2 => opaque(60, 40, ImageFormat::WebP),
            3 => moving_gif(40, 40, 3),
            4 => turned_jpeg(60, 40, 6),
            _ => transparent(50, 50),
        };
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at.index(length)] = value;
        }
        if truncate {
            bytes.truncate(keep.index(bytes.len()));
        }
        check_ends_well(&bytes, animated)?;
    }

    #[test]
    fn noise_ends_well(head in 0..5_usize, tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let heads: [&[u8]; 5] = [b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\xff\0\0\0WEBPVP8X"];
        check_ends_well(&[heads[head], &tail].concat(), false)?;
    }
}

fn check_ends_well(
    bytes: &[u8],
    animated: bool,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new();
        let requested = Requested {
            animated,
            ..crop(32)
        };
        match fixture.ask(bytes, requested).await {
            Ok(ThumbnailAnswer::Made(small)) => {
                prop_assert!(small.width <= 32 && small.height <= 32);
                decode(&small);
            }
            Ok(ThumbnailAnswer::Original) => {}
            Err(error) => prop_assert!(
                matches!(error, ThumbnailError::NotAnImage | ThumbnailError::TooLarge),
                "{error:?}"
            ),
        }
        Ok(())
    })
}
