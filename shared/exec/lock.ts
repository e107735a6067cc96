import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import type { Kernel } from '../kernel/kernel.js'
import { CniError, codes } from '../protocol/errors.js'
import type { Run } from './run.js'
import { firstLine } from './stderr.js'

/** Status of `flock -E` for "still held by somebody else at the deadline", apart from its own failures. */
const HELD = 75

/**
 * Runs `body` while holding flock(2) LOCK_EX on the file, which is made if need be (mode 0750, as the official
 * host-local does, so that both exclude each other). The lock belongs to the open file that the `flock` tool inherits
 * from us: it outlives the tool, and the kernel drops it when we close the file or die. Where nobody holds it, no tool is needed.
 * @param options.seconds how long to wait for another holder
 * @param options.existing the file is one of somebody else's, such as a network namespace: it is neither made nor written
 * @throws code 11 at the deadline, 5 when the file cannot be opened, 100 or 101 when flock fails
 */
export function withLock<T>(path: string, body: () => T, options: LockOptions): T {
  const { host, seconds = 60, existing = false } = options
  for (;;) {
    const fd = open(path, existing ? constants.O_RDONLY : constants.O_RDWR | constants.O_CREAT)
    try {
      if (!host.kernel?.tryLock(fd)) acquire(fd, path, seconds, host.run)
      if (isStill(path, fd)) return body()
    } finally {
      closeSync(fd)
    }
  }
}

// --- internal

interface LockOptions {
  readonly host: { readonly run: Run; readonly kernel?: Pick<Kernel, 'tryLock'> | undefined }
  readonly seconds?: number
  readonly existing?: boolean
}

/** Ours is opened for writing: NFS refuses an exclusive lock on a file opened for reading. */
function open(path: string, flags: number): number {
  try {
    return openSync(path, flags, 0o750)
  } catch (thrown) {
    const details = (thrown as Error).message
    throw new CniError(codes.ioFailure, `cannot open the lock file ${path}`, { details, cause: thrown })
  }
}

function acquire(fd: number, path: string, seconds: number, run: Run): void {
  const argv = ['flock', '-x', '-w', String(seconds), '-E', String(HELD), '3'] as const
  const { status, signal, stderr, failure } = run({ argv, fds: [fd], seconds: seconds + 5 })
  if (status === 0) return
  if (status === HELD) {
    throw new CniError(codes.tryAgainLater, `another process has held the lock ${path} for more than ${seconds} s`, {
      fix: `find it with: lslocks, or fuser -v ${path}`,
    })
  }
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, `cannot lock ${path}: there is no flock`, { fix: 'install util-linux' })
  }
  const details = firstLine(stderr) || `flock: ${failure ?? signal ?? `status ${status}`}`
  throw new CniError(codes.operationFailed, `cannot lock ${path}`, { details })
}

/** False when the file was removed or replaced while we waited: a lock on it would exclude nobody. */
function isStill(path: string, fd: number): boolean {
  const now = statSync(path, { throwIfNoEntry: false })
  const ours = fstatSync(fd)
  return now !== undefined && now.ino === ours.ino && now.dev === ours.dev
}
