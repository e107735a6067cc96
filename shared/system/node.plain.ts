import { spawnSync } from 'node:child_process'
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { getAsset } from 'node:sea'
import { Script } from 'node:vm'
import type { Compiled, Ended, ForeignFunctions, Program } from './node.js'

// In the place of node.ts in what `make build PLAIN=1` makes: the same by Node's public modules. It calls no C; tools
// do what that would.

export function compile<Run>(text: string, name: string, cache?: Buffer): Compiled<Run> {
  const script = new Script(text, { filename: name, ...(cache ? { cachedData: cache } : {}) })
  return {
    cachedDataRejected: script.cachedDataRejected,
    createCachedData: () => script.createCachedData(),
    run: script.runInThisContext() as Run,
  }
}

export function asset(name: string): Buffer | undefined {
  try {
    return Buffer.from(getAsset(name))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ERR_SINGLE_EXECUTABLE_APPLICATION_ASSET_NOT_FOUND') throw thrown
    return undefined
  }
}

/** Node's documentation has `detached` at `spawn` only; exec/spawn.test.ts watches that `spawnSync` takes it, too. */
export function spawn({ file, argv, env, stdin, pipes, fds, milliseconds, mostBytes }: Program): Ended {
  const [argv0 = file, ...args] = argv
  const inputs: number[] = []
  try {
    for (const text of pipes) if (text !== null) inputs.push(fileWith(text))
    const left = inputs.values()
    const { pid, status, signal, output, error } = spawnSync(file, args, {
      argv0,
      env,
      killSignal: 'SIGKILL',
      maxBuffer: mostBytes,
      ...(stdin === undefined ? {} : { input: Buffer.from(stdin) }),
      ...(milliseconds === undefined ? {} : { timeout: milliseconds, detached: true }),
      stdio: [
        stdin === undefined ? 'ignore' : 'pipe',
        'pipe',
        'pipe',
        ...pipes.map((text) => (text === null ? 'pipe' : (left.next().value as number))),
        ...fds,
      ],
    })
    const texts = (output ?? []).map((one) => one?.toString() ?? '')
    return { pid, status, signal, output: texts, errno: errnoOf(error) }
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (errno === 0) throw thrown
    return { pid: 0, status: null, signal: null, output: [], errno }
  } finally {
    for (const fd of inputs) closeSync(fd)
  }
}

export function killGroup(leader: number): boolean {
  try {
    return process.kill(-leader, 'SIGKILL')
  } catch {
    return false
  }
}

export function foreignFunctions(): ForeignFunctions | undefined {
  return undefined
}

export function endProcess(status: number): never {
  return process.exit(status)
}

// --- internal

/**
 * An open file without a name, to be read from its beginning: Node's public calls feed no other pipe than standard
 * input.
 */
function fileWith(text: string): number {
  const fd = openSync('/run', constants.O_RDWR | O_TMPFILE, 0o600)
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at)
  return fd
}

/** open(2); what it holds besides is O_DIRECTORY, whose number differs between architectures. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY

function errnoOf(thrown: unknown): number {
  return -((thrown as NodeJS.ErrnoException | undefined)?.errno ?? 0)
}
