import { names } from 'podwire:plugins'
import { describe, expect, test } from 'vitest'
import { linkTargets, pluginAt, pluginsCalled } from './name.js'

const separators = [...' !"#$%&\'()*+,-.:;<=>?@[\\]^_`{|}~\n\x7f']

describe.each(names)('%s', (plugin) => {
  test('is its own name', () => {
    expect(pluginsCalled(plugin, [])).toEqual([plugin])
  })

  test.each(separators)('is the last or the first part behind or before %j', (separator) => {
    for (const name of [
      `cnv${separator}${plugin}`,
      `buildkit${separator}cni${separator}${plugin}`,
      `${plugin}${separator}real`,
      `${plugin}${separator}2${separator}0`,
      `${separator}${plugin}${separator}wrapped`,
      `${separator}${separator}${plugin}`,
      `${plugin}${separator}`,
      `${separator}x${separator}${plugin}${separator}`,
    ]) {
      expect(pluginsCalled(name, []), name).toEqual([plugin])
    }
  })

  test('is no part without a separator, in the middle or in capitals', () => {
    for (const name of [
      `x${plugin}`,
      `${plugin}2`,
      `é${plugin}`,
      `${plugin}é`,
      plugin.toUpperCase(),
      `a-${plugin}-b`,
      ...[...'09AZaz'].flatMap((letter) => [`x-${letter}${plugin}`, `${plugin}${letter}-x`]),
    ]) {
      expect(pluginsCalled(name, []).filter((one) => one === plugin)).toEqual([])
    }
  })
})

test('no plugin is called as another one begins or ends, so that a part of a name means one at the most', () => {
  for (const one of names) {
    for (const other of names.filter((name) => name !== one)) {
      expect(pluginsCalled(`x-${one}`, []), `${one} ${other}`).not.toContain(other)
      expect(separators.some((separator) => one.endsWith(separator + other) || one.startsWith(other + separator))).toBe(
        false,
      )
    }
  }
})

describe('a name with several plugins in it', () => {
  const rows: [string, string[]][] = [
    // The last part, then the first.
    ['bridge-ptp', ['ptp']],
    ['ptp-bridge', ['bridge']],
    ['x-bridge-ptp', ['ptp']],
    ['bridge-ptp-x', ['bridge']],
    ['host-local-static', ['static']],
    ['static.host-local', ['host-local']],
    ['bridge-bridge', ['bridge']],
    // The longest: a name with separators of its own, and no plugin that merely ends another one's.
    ['x-host-local', ['host-local']],
    ['host-device.old', ['host-device']],
    ['x-macvlan', ['macvlan']],
    ['ipvlan_x', ['ipvlan']],
    // As long at either end: which one is meant?
    ['ptp-tap', ['ptp', 'tap']],
    ['.static_bridge', ['static', 'bridge']],
    ['vlan-x-dummy', ['dummy']],
    // Of none.
    ['', []],
    ['-', []],
    ['host_local', []],
    ['podwire', []],
    ['__proto__', []],
  ]
  test.each(rows)('%j', (name, plugins) => {
    expect(pluginsCalled(name, [])).toEqual(plugins)
  })
})

describe('links', () => {
  const links: Record<string, string> = {
    '/a/foo': '/b/bridge',
    '/a/relative': '../b/foo',
    '/a/../b/foo': 'bar',
    '/a/../b/bar': '/opt/x-ptp',
    '/a/cnv-ptp': '/b/bridge',
    '/a/ptp': '/b/bridge',
    '/a/far': 'foo',
    '/a/first': 'static',
    '/a/static': 'bridge',
    '/a/round': 'round',
    here: 'tap',
  }
  const readLink = (path: string) => {
    const target = links[path]
    if (target === undefined) throw new Error(`EINVAL: ${path}`)
    return target
  }
  const rows: [string, string | undefined][] = [
    ['/a/foo', 'bridge'],
    ['/a/far', 'bridge'],
    ['/a/relative', 'ptp'],
    ['/a/cnv-ptp', 'bridge'],
    ['/a/ptp', 'ptp'],
    ['/a/first', 'static'],
    ['/a/round', undefined],
    ['here', 'tap'],
    ['/a/ptp-tap', undefined],
    ['/a/none', undefined],
  ]
  test.each(rows)('%s is %s', (path, plugin) => {
    expect(pluginAt(path, readLink)).toBe(plugin)
  })

  test('are followed as far as the kernel would', () => {
    expect(linkTargets('/a/round', readLink)).toHaveLength(40)
  })
})
