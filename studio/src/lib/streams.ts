// Which jobs are followed by a stream. A browser has six connections for one host, over all its tabs: where streams took
// them all, nothing could be asked any more, and no job be stopped.
const MOST = 3;
let own = 0; // of this tab, where tabs know nothing of each other

type Release = () => void;

// A place for a stream, to be given back; none where all are taken. What is locked is let go of with its tab.
export async function placeForStream(): Promise<Release | null> {
  if (!("locks" in navigator)) return ownPlace(); // browsers lend locks to pages of this machine, or over https
  for (let k = 0; k < MOST; k += 1) {
    const release = await locked(`zeuxis stream ${k}`);
    if (release) return release;
  }
  return null;
}

function locked(name: string): Promise<Release | null> {
  return new Promise((resolve) => {
    void navigator.locks.request(name, { ifAvailable: true }, (lock) =>
      lock ? new Promise<void>((done) => resolve(done)) : resolve(null),
    );
  });
}

function ownPlace(): Release | null {
  if (own >= 1) return null;
  own += 1;
  return () => (own -= 1);
}
