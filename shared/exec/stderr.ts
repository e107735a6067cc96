/** Why a tool refused, as far as callers treat the reasons differently. */
export type Reason = 'exists' | 'absent' | 'busy' | 'unsupported' | 'denied' | 'other'

/**
 * The reason behind a tool's stderr. The only place that reads English from ip, bridge, tc, nft, iptables and sysctl
 * writes; all of them run under LC_ALL=C, and stderr.test.ts holds what several versions say.
 */
export function reasonOf(stderr: string): Reason {
  for (const [reason, phrases] of phrasesByReason) {
    if (phrases.some((phrase) => stderr.includes(phrase))) return reason
  }
  return 'other'
}

/** The first line that says something, for the end of "cannot ...: ". */
export function firstLine(stderr: string): string {
  const line = stderr.split('\n').find((one) => one.trim() !== '') ?? ''
  return excerpt(line.replace('RTNETLINK answers: ', '').trim(), 500)
}

/** A tool's words as far as a person may want to read them: one that has gone mad prints megabytes. */
export function excerpt(text: string, most = 4000): string {
  const trimmed = text.trim()
  return trimmed.length > most ? `${trimmed.slice(0, most)}... (${trimmed.length} characters)` : trimmed
}

/** The number of the failing line (from 1) of an `ip`, `bridge` or `tc` batch, or undefined. */
export function failedBatchLine(stderr: string): number | undefined {
  const marker = 'Command failed -:'
  const at = stderr.lastIndexOf(marker)
  if (at < 0) return undefined
  const line = Number.parseInt(stderr.slice(at + marker.length), 10)
  return Number.isNaN(line) ? undefined : line
}

// --- internal

const phrasesByReason: readonly [Reason, readonly string[]][] = [
  [
    'exists',
    [
      'File exists',
      'already exists',
      'EEXIST',
      'Address already assigned',
      'address already assigned',
      'ioctl(TUNSETIFF): Device or resource busy',
    ],
  ],
  [
    'absent',
    [
      'Cannot find device',
      'No such file or directory',
      'No such process',
      'No such device',
      'Directory nonexistent',
      'nonexistent directory',
      'does not exist',
      'Cannot assign requested address',
      'No chain/target/match by that name',
      'Bad rule (does a matching rule exist in that chain?)',
      'Invalid handle',
      'Cannot find specified qdisc',
      'Cannot delete qdisc with handle of zero',
      'ENOENT',
      ': 0 flow entries have been deleted',
    ],
  ],
  ['busy', ['Device or resource busy', 'EBUSY']],
  [
    'unsupported',
    [
      'Unknown device type',
      'Operation not supported',
      'Protocol not supported',
      'not supported',
      'Specified qdisc kind is unknown',
      'Could not fetch rule set generation id',
      'EAFNOSUPPORT',
    ],
  ],
  ['denied', ['Operation not permitted', 'Permission denied', 'Read-only file system', 'EACCES', 'EPERM', 'EROFS']],
]
