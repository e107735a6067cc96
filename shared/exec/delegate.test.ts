import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { Command, Outcome } from './command.js'
import { delegateEnvironment, delegations, findDelegate, lookForDelegate, refuseLoop, runDelegate } from './delegate.js'

describe('on CNI_PATH', () => {
  let root: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'delegate-'))
    for (const name of ['a', 'b', 'c/ipam']) mkdirSync(join(root, name), { recursive: true })
    for (const name of ['a/other', 'b/ipam']) writeFileSync(join(root, name), '')
  })
  afterEach(() => rmSync(root, { recursive: true }))

  test('the first regular file of the name is it; it need not be executable to be found', () => {
    const path = ['none', 'c', 'b', 'a'].map((name) => join(root, name)).join(':')
    chmodSync(join(root, 'b/ipam'), 0o600)
    expect(findDelegate('ipam', path)).toEqual({ path: join(root, 'b/ipam'), own: false })
    expect(findDelegate('other', path)).toEqual({ path: join(root, 'a/other'), own: false })
  })

  test('an empty directory of it is the working directory', () => {
    expect(lookForDelegate('package.json', `${root}:`)).toEqual({ path: './package.json', own: false })
  })

  test('this very program is known as such', () => {
    const [directory, name] = [dirname(process.execPath), basename(process.execPath)]
    expect(findDelegate(name, directory)).toEqual({ path: process.execPath, own: true })
  })

  test('one that is not there is named, with the directories', () => {
    const error = thrownBy(() => findDelegate('ipam', `${join(root, 'a')}:${join(root, 'c')}`))
    expect(error).toMatchObject({
      code: codes.delegateFailed,
      message: `failed to find plugin "ipam" in path [${join(root, 'a')} ${join(root, 'c')}]`,
    })
    expect(lookForDelegate('ipam', join(root, 'b/ipam'))).toBeUndefined()
  })

  test.each(['../b/ipam', '.', '..', 'ipam\0'])('%j is no name of a program', (type) => {
    expect(thrownBy(() => findDelegate(type, join(root, 'b'))).code).toBe(codes.invalidConfiguration)
    expect(lookForDelegate(type, join(root, 'b'))).toBeUndefined()
  })
})

describe('delegations', () => {
  test('are handed on by name, four at the most', () => {
    const first = delegateEnvironment({ PATH: '/bin' }, 'a')
    expect(first).toEqual({ PATH: '/bin', [delegations]: 'a' })
    const fourth = ['b', 'c', 'd'].reduce(delegateEnvironment, first)
    expect(fourth[delegations]).toBe('a/b/c/d')
    const error = thrownBy(() => delegateEnvironment(fourth, 'e'))
    expect(error).toMatchObject({
      code: codes.invalidConfiguration,
      message: 'more than 4 delegations: a > b > c > d > e',
    })
  })

  test('an empty or odd variable counts the names in it', () => {
    expect(delegateEnvironment({ [delegations]: '//a/' }, 'b')[delegations]).toBe('a/b')
    expect(delegateEnvironment({ [delegations]: '' }, 'b')[delegations]).toBe('b')
  })

  test('a plugin that is a delegate and would ask the one it is called as is refused', () => {
    const error = thrownBy(() => refuseLoop({ [delegations]: 'x/wrapper' }, 'wrapper', 'bridge'))
    expect(error).toMatchObject({
      code: codes.invalidConfiguration,
      message: '"wrapper", which starts bridge, is not an IPAM plugin',
    })
  })

  test.each([
    ['no delegate', {}, 'wrapper'],
    ['a delegate that asks nobody', { [delegations]: 'wrapper' }, undefined],
    ['a delegate that asks another', { [delegations]: 'wrapper' }, 'host-local'],
  ])('%s is none', (_, env, type) => {
    expect(() => refuseLoop(env, type, 'bridge')).not.toThrow()
  })
})

describe('running one', () => {
  /** Runs it with this outcome; what it was given, what it warned of, and what it returned or threw. */
  function ran(outcome: Partial<Outcome>, env: Record<string, string | undefined> = {}) {
    const commands: Command[] = []
    const warnings: string[] = []
    const run = (command: Command): Outcome => {
      commands.push(command)
      return { status: 0, signal: null, stdout: '', stderr: '', ...outcome }
    }
    const call = () =>
      runDelegate(run, { path: '/cni/ipam', verb: 'DEL', stdin: '{}', env, warn: (text) => warnings.push(text) })
    return { call, commands, warnings }
  }

  test('gives it the configuration and the environment as it came, with the verb', () => {
    const { call, commands } = ran({ stdout: 'result' }, { CNI_COMMAND: 'ADD', CNI_ARGS: 'a=b', CNI_IFNAME: undefined })
    expect(call()).toBe('result')
    expect(commands).toEqual([{ argv: ['/cni/ipam'], stdin: '{}', env: { CNI_COMMAND: 'DEL', CNI_ARGS: 'a=b' } }])
    expect(Object.keys(commands[0]?.env ?? {})).toEqual(['CNI_COMMAND', 'CNI_ARGS'])
  })

  test('hands on what it complains of, and nothing where it does not', () => {
    const loud = ran({ stderr: 'oh\nno\n' })
    loud.call()
    expect(loud.warnings).toEqual(['oh\nno'])
    const still = ran({})
    still.call()
    expect(still.warnings).toEqual([])
  })

  test('its own error is ours, word for word', () => {
    const own = ran({ status: 1, stdout: '{"code": 11, "msg": "try later", "details": "soon"}' })
    expect(thrownBy(own.call)).toMatchObject({ code: 11, message: 'try later', details: 'soon' })
    const short = ran({ status: 1, stdout: '{"code": 12, "msg": "no", "details": 7}' })
    expect(thrownBy(short.call)).toMatchObject({ code: 12, message: 'no', details: '' })
  })

  test.each<[string, Partial<Outcome>, string]>([
    ['says nothing', { status: 3 }, 'exit status 3'],
    ['is killed', { status: null, signal: 'SIGSEGV' }, 'signal: SIGSEGV'],
    ['cannot be started', { status: null, failure: 'EACCES' }, 'EACCES'],
    ['prints no JSON', { status: 1, stdout: 'oops' }, 'exit status 1'],
    ['prints no code', { status: 1, stdout: '{"code": "7", "msg": "no"}' }, 'exit status 1'],
    ['prints no message', { status: 1, stdout: '{"code": 7}' }, 'exit status 1'],
  ])('one that %s has failed without an error of its own', (_, outcome, how) => {
    const error = thrownBy(ran({ stderr: 'hint', ...outcome }).call)
    expect(error.code).toBe(codes.delegateFailed)
    expect(error.message).toBe(
      `the plugin /cni/ipam failed at DEL without an error of its own: ${how}: netplugin failed: "hint"`,
    )
    expect(error.details).toContain(`stdout: ${JSON.stringify(outcome.stdout ?? '')}\nstderr: "hint"`)
  })
})
