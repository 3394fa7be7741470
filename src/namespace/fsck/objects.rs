//! Files of segments and bitmaps of deletions: read in pieces, hashed, compared with what names them.

use super::survey::Survey;
use super::{Checker, Finding, Verdict, is_verdict};
use crate::error::Result;
use crate::format::deletions;
use crate::format::references::Bitmap;
use crate::format::segment::{BlockSums, FileCheck, Footer};
use crate::lsm::{BitmapPlace, Segment};
use crate::store::{Bucket, GetOutcome};
use crate::types::ObjectRef;

impl Checker<'_> {
    /// Checks all that is referred to; gives the objects that are not there, with what needs them.
    pub(super) async fn files(&mut self, survey: &Survey) -> Result<Vec<(String, String)>> {
        let all = &survey.references;
        let mut gone = Vec::new();
        let mut read: Option<&str> = None;
        for (segment, named_by) in all.segments() {
            let footer = match read_footer(&*self.bucket, segment).await {
                Ok(footer) => Some(footer),
                Err(error) if is_verdict(&error) => None,
                Err(error) if error.code() == "object_missing" => None,
                Err(error) => return Err(error),
            };
            let sums = footer.as_ref().map(Footer::index_sums);
            let index = self.file(&segment.index, sums).await?;
            // Whole by its hash, and still no footer: what was written was wrong.
            let index = match (index, &footer) {
                (Verdict::Whole, None) => match read_footer(&*self.bucket, segment).await {
                    Err(error) if is_verdict(&error) => Verdict::Damaged(error),
                    Err(error) => return Err(error),
                    Ok(_) => Verdict::Whole,
                },
                (verdict, _) => verdict,
            };
            self.judge(survey, &segment.index, named_by, index, &mut gone);
            let path = segment.parquet.path.as_str();
            // A segment with two index files has its documents once.
            if read.replace(path) == Some(path) {
                continue;
            }
            let sums = footer.as_ref().map(Footer::parquet_sums);
            let documents = self.file(&segment.parquet, sums).await?;
            self.judge(survey, &segment.parquet, named_by, documents, &mut gone);
        }
        for bitmap in all.bitmaps() {
            self.bitmap(survey, bitmap, &mut gone).await?;
        }
        Ok(gone)
    }

    fn judge(
        &mut self,
        survey: &Survey,
        file: &ObjectRef,
        named_by: &str,
        verdict: Verdict,
        gone: &mut Vec<(String, String)>,
    ) {
        match verdict {
            Verdict::Whole => {}
            Verdict::Missing => gone.push((file.path.clone(), named_by.to_owned())),
            Verdict::Damaged(error) if survey.is_past(&file.path) => {
                let (object, error) = (file.path.clone(), error.chain());
                self.report(Finding::Past { object, error });
            }
            Verdict::Damaged(error) => self.damaged(&file.path, &error),
        }
    }

    /// Reads a file twice before it is called damaged: the fault may be on the way.
    async fn file(&mut self, file: &ObjectRef, sums: Option<&BlockSums>) -> Result<Verdict> {
        match self.file_once(file, sums).await? {
            Verdict::Damaged(_) => self.file_once(file, sums).await,
            verdict => Ok(verdict),
        }
    }

    async fn file_once(&mut self, file: &ObjectRef, sums: Option<&BlockSums>) -> Result<Verdict> {
        let mut check = FileCheck::new(file, sums);
        let mut read = 0;
        while let Some(range) = check.next() {
            let GetOutcome::Found(found) = self.bucket.get_range(&file.path, range).await? else {
                return Ok(Verdict::Missing);
            };
            read += found.bytes.len();
            if let Err(error) = check.push(&found.bytes) {
                self.count(&file.path, read);
                return Ok(Verdict::Damaged(error));
            }
        }
        let beyond = file.bytes..file.bytes.saturating_add(1);
        let GetOutcome::Found(beyond) = self.bucket.get_range(&file.path, beyond).await? else {
            return Ok(Verdict::Missing);
        };
        self.count(&file.path, read);
        Ok(match check.finish(&beyond.bytes) {
            Ok(()) => Verdict::Whole,
            Err(error) => Verdict::Damaged(error),
        })
    }

    pub(super) async fn bitmap(
        &mut self,
        survey: &Survey,
        bitmap: &Bitmap,
        gone: &mut Vec<(String, String)>,
    ) -> Result<()> {
        let deletions = &bitmap.deletions;
        match &deletions.bitmap {
            BitmapPlace::Empty => {}
            BitmapPlace::Inline(text) => {
                let named_by = &bitmap.named_by;
                let decoded = deletions::from_text(named_by, text).and_then(|bytes| {
                    deletions::decode(named_by, &bytes, bitmap.rows, deletions.rows)
                });
                if let Err(error) = decoded {
                    self.damaged(named_by, &error);
                }
            }
            BitmapPlace::Stored(object) => {
                let verdict = match self.file(object, None).await? {
                    Verdict::Whole => stored_bitmap(&*self.bucket, object, bitmap).await?,
                    verdict => verdict,
                };
                self.judge(survey, object, &bitmap.named_by, verdict, gone);
            }
        }
        Ok(())
    }
}

/// Decodes a bitmap whose bytes are those that were written: they may still be no bitmap of its segment.
async fn stored_bitmap(
    bucket: &dyn Bucket,
    object: &ObjectRef,
    bitmap: &Bitmap,
) -> Result<Verdict> {
    let key = &object.path;
    let Some(bytes) = bucket.get(key).await?.into_bytes() else {
        return Ok(Verdict::Missing);
    };
    let decoded = deletions::open(key, &bytes)
        .and_then(|bytes| deletions::decode(key, bytes, bitmap.rows, bitmap.deletions.rows));
    match decoded {
        Ok(_) => Ok(Verdict::Whole),
        Err(error) if is_verdict(&error) => Ok(Verdict::Damaged(error)),
        Err(error) => Err(error),
    }
}

async fn read_footer(bucket: &dyn Bucket, segment: &Segment) -> Result<Footer> {
    let (path, place) = (&segment.index.path, segment.footer);
    let range = place.offset..place.offset.saturating_add(place.bytes);
    let fetched = bucket.get_range(path, range).await?.into_bytes();
    let bytes = fetched.ok_or_else(|| crate::segment::missing(path))?;
    Footer::open(path, &place, &bytes)
}
