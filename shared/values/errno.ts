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

/** What the kernel means by an error: 0 or a negative errno. In the words of the C library, as Go has them. */
export function errnoText(error: number): string | undefined {
  return errnoTexts[-error]
}

/** True for an error that says nothing of what was asked for, because this call has too little to ask with. */
export function isLack(thrown: unknown): boolean {
  return scarce[errnoOf(thrown) ?? ''] !== undefined
}

// --- internal

/** Errors by their numbers, as in errno(3). */
const errnoTexts: Readonly<Record<number, string>> = {
  1: 'operation not permitted',
  2: 'no such file or directory',
  3: 'no such process',
  13: 'permission denied',
  12: 'cannot allocate memory',
  16: 'device or resource busy',
  17: 'file exists',
  19: 'no such device',
  22: 'invalid argument',
  23: 'too many open files in system',
  28: 'no space left on device',
  34: 'numerical result out of range',
  40: 'too many levels of symbolic links',
  95: 'operation not supported',
  97: 'address family not supported by protocol',
  98: 'address already in use',
  99: 'cannot assign requested address',
  100: 'network is down',
  101: 'network is unreachable',
  105: 'no buffer space available',
  113: 'no route to host',
}

/** Errors of disks that Node has no name for (asm-generic/errno.h). */
const nameless: Readonly<Record<number, readonly [name: string, meaning: string]>> = {
  [-37]: ['ENOLCK', 'no locks available'],
  [-116]: ['ESTALE', 'stale file handle'],
  [-117]: ['EUCLEAN', 'the file system needs repair'],
  [-122]: ['EDQUOT', 'disk quota exceeded'],
}
