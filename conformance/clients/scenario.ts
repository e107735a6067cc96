/** Turns a scenario's lines into a test: every "FAIL" line is in the message, every "skip" line on the terminal. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { commandPath, otherPrograms, repository, suites, systemCommand } from '../harness/locations.js'
import { run } from '../harness/process.js'

const deadline = 240_000
/** A test waits a little longer than what it runs, which says what it hangs at. */
const patience = deadline + 20_000

/** What a scenario printed, by the first word of each line. */
export type Outcome = {
  passed: string[]
  failed: string[]
  skipped: string[]
  explained: string[]
  finished: boolean
  status: number | null
  stderr: string
}

const linesOf = (output: string, word: string) =>
  output.split('\n').flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []))

/**
 * Where a scenario runs: with the plugins of a directory or of a release archive, the network configurations of a
 * directory, and on this machine's root file system or another; `others` are the programs of another project.
 */
export interface Place {
  others?: string
  plugins?: string
  archive?: string
  configuration?: string
  root?: string
}

/** Runs one scenario in a cell of its own. */
export async function runScenario(name: string, parameters: readonly string[], place: Place): Promise<Outcome> {
  const argv = [join(repository, 'conformance/clients/run'), name, ...parameters]
  const { plugins = suites.podwire, archive = '', configuration = '', root = '' } = place
  const where = {
    PODWIRE_BIN: plugins,
    PODWIRE_ARCHIVE: archive,
    PODWIRE_CONFIGURATION: configuration,
    PODWIRE_ROOT: root,
  }
  const given = { OFFICIAL: process.env['OFFICIAL'] ?? '', OTHERS: otherPrograms }
  const env = { PATH: commandPath, HOME: '/root', ...given, ...where }
  const { stdout, stderr, status } = await run(argv, { env, deadline })
  const lines = (word: string) => linesOf(stdout, word)
  return {
    passed: lines('ok'),
    failed: lines('FAIL'),
    skipped: lines('skip'),
    explained: lines('explained'),
    finished: lines('done').length === 1,
    status,
    stderr,
  }
}

/** Why this machine cannot run the commands; undefined when it can. */
export function obstacle(commands: readonly string[]): string | undefined {
  const installed = (command: string) =>
    commandPath.split(delimiter).some((directory) => existsSync(join(directory, command)))
  const missing = commands.filter((command) => !installed(command))
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`
  const unfit = commands.includes('podman') ? withoutCni() : undefined
  if (unfit !== undefined) return unfit
  if (process.getuid?.() !== 0) return 'needs root'
  return readFileSync('/proc/filesystems', 'utf8').includes('\toverlay\n')
    ? undefined
    : 'this kernel has no overlay file system'
}

/** What podman is, where it has no CNI any more: from version 5 on it is built without. */
function withoutCni(): string | undefined {
  const version = execFileSync(systemCommand('podman'), ['--version'], { encoding: 'utf8' }).trim()
  const major = Number(/version (\d+)/.exec(version)?.[1])
  return major >= 5 ? `${version} has no CNI any more` : undefined
}

/** Says on the terminal what was not tried, and leaves the test as skipped. */
function skipLoudly(context: TestContext, reason: string): never {
  console.warn(`SKIPPED ${context.task.name}: ${reason}`)
  return context.skip(reason)
}

/** A scenario got to its end, and so did the cell around it: what it made is gone. */
export function expectEnd({ finished, status, stderr, passed }: Outcome): void {
  expect({ finished, status }, `${stderr}\nthe last check: ${passed.at(-1)}`).toEqual({ finished: true, status: 0 })
}

/** Skips the test unless the machine has the commands. */
export function needs(context: TestContext, commands: readonly string[]): void {
  const reason = obstacle(commands)
  if (reason !== undefined) skipLoudly(context, reason)
}

/** Declares the test of one scenario against the suite under test; `whatElse` is given what it printed. */
export function scenario(
  name: string,
  commands: readonly string[],
  parameters: readonly string[] = [],
  place: Place = {},
  whatElse: (outcome: Outcome) => void = () => {},
): void {
  test([name, ...parameters].join(' '), { timeout: patience }, async (context) => {
    needs(context, commands)
    const { others } = place
    if (others && !existsSync(join(otherPrograms, others, 'go.mod'))) {
      skipLoudly(context, `${join(otherPrograms, others)} is not there: \`make test-others\` builds it`)
    }
    const outcome = await runScenario(name, parameters, place)
    for (const line of outcome.skipped) console.warn(`SKIPPED in ${name}: ${line}`)
    expect(outcome.failed, outcome.stderr).toEqual([])
    expectEnd(outcome)
    expect(outcome.passed.length).toBeGreaterThan(0)
    whatElse(outcome)
  })
}
