import { unquoted } from '../values/token.js'
import type { Operation } from './operation.js'

/** A setting's key, in slash form, its file, in the namespace it is opened in, and what is to stand there. */
export function settingOf(operation: Operation): { key: string; path: string; value: string } {
  const assignment = assignmentOf(operation)
  const equals = assignment.indexOf('=')
  const key = assignment.slice(0, equals)
  return { key, path: `/proc/sys/${key}`, value: assignment.slice(equals + 1) }
}

/** "key=value" of an operation; in quotes where the value has spaces. */
export function assignmentOf({ argv }: Operation): string {
  return unquoted(argv[1] ?? '')
}
