import { shapes } from 'podwire:shapes'
import type { Shape } from '../../shared/values/shape.js'

const known = new Map<string, Shape | undefined>()

/** What a plugin's configuration is; made once, of its schema. Undefined for what is no plugin of ours. */
export function shapeOf(plugin: string): Shape | undefined {
  if (!known.has(plugin)) known.set(plugin, Object.hasOwn(shapes, plugin) ? shapes[plugin] : undefined)
  return known.get(plugin)
}
