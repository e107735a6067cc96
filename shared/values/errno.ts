/** True for an error that says there is nothing at a path. */
export function isAbsent(thrown: unknown): boolean {
  const errno = errnoOf(thrown)
  return errno === 'ENOENT' || errno === 'ENOTDIR'
}

/** The errno name of a system call's error (ENOENT, ...). */
export function errnoOf(thrown: unknown): string | undefined {
  const { errno, code } = (thrown ?? {}) as NodeJS.ErrnoException
  return nameless[errno ?? 0]?.[0] ?? code
}

/** The message of an error. A system call's begins with the errno name and says what that means. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const { errno, syscall, path } = thrown as NodeJS.ErrnoException
  const known = nameless[errno ?? 0]
  return known ? `${known.join(': ')}, ${syscall}${path === undefined ? '' : ` '${path}'`}` : thrown.message
}

/**
 * What to give more of, by the errno name that says it is used up: this call has too little, and nothing is known of
 * what it asked for.
 */
export const scarce: Partial<Record<string, string>> = {
  EMFILE: 'raise RLIMIT_NOFILE',
  ENFILE: 'raise the sysctl fs.file-max',
  ENOMEM: "raise the cgroup's memory.max, or RLIMIT_AS",
}

/** The same of a process that cannot be started. */
export const whatToRaise: Partial<Record<string, string>> = {
  EAGAIN: 'raise pids.max of the cgroup (TasksMax), or RLIMIT_NPROC',
  ...scarce,
}

/** True for an error that says nothing of what was asked for, because this call has too little to ask with. */
export function isLack(thrown: unknown): boolean {
  return scarce[errnoOf(thrown) ?? ''] !== undefined
}

// --- internal

/** Errors of disks that Node has no name for (asm-generic/errno.h). */
const nameless: Readonly<Record<number, readonly [name: string, meaning: string]>> = {
  [-37]: ['ENOLCK', 'no locks available'],
  [-116]: ['ESTALE', 'stale file handle'],
  [-117]: ['EUCLEAN', 'the file system needs repair'],
  [-122]: ['EDQUOT', 'disk quota exceeded'],
}
